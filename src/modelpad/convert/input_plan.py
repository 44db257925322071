"""Plans the fields, and their preprocessing steps, for each of a model's inputs.

The user's specs take precedence, then what the model itself says. Nothing is guessed: where an
image input leaves open which pixel range it expects, the user has to say it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from modelpad.convert.naming import (
    CHANNELS_FIRST,
    channel_axis,
    choose_field_name,
    deduplicate_names,
    format_shape,
    format_sides,
    match_specs,
)
from modelpad.convert.plans import Evidence, InputPlan
from modelpad.convert.source import Shape, TensorSpec
from modelpad.convert.specs import InputSpec
from modelpad.convert.table_plan import is_table, match_columns, plan_columns, split_specs
from modelpad.errors import UsageError
from modelpad.fields import Audio, Field, Image, Sketch, Tensor, Text, Tokenizer
from modelpad.fields.image import FILTERS, FITS
from modelpad.fields.steps import Affine, Cast, Reshape, ReverseChannels, Step, Transpose

UNKNOWN_RANGE = (
    "served as numbers, since nothing says which range its pixels have; to show images, import it"
    " with --input image,scale=..."
)
MIN_PICTURE_SIDE = 8  # pixels; smaller inputs are treated as tensors
SCALES = {
    "none": ((1.0,), (0.0,)),
    "0..1": ((1 / 255,), (0.0,)),
    "-1..1": ((1 / 127.5,), (-1.0,)),
    # ImageNet's means and standard deviations, as used to train torchvision's models.
    "imagenet": (
        tuple(1 / 255 / std for std in (0.229, 0.224, 0.225)),
        tuple(-mean / std for mean, std in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))),
    ),
    # Blue, green and red minus their means, as for Caffe's VGG and ResNet.
    "caffe": ((1.0,), (-103.939, -116.779, -123.68)),
}


def plan_inputs(
    framework: str, tensors: Sequence[TensorSpec], specs: Sequence[InputSpec], evidence: Evidence
) -> tuple[InputPlan, ...]:
    """The plans for all inputs.

    Raises `UsageError` if a spec does not fit the model, or if a pixel range is unknown.
    """
    matched = match_specs(split_specs(specs)[0], tensors, "input")
    columns = match_columns(split_specs(specs)[1], tensors)
    is_only = len(tensors) == 1
    plans: list[InputPlan] = []
    tokenizer = _choose_tokenizer(matched, evidence)
    for tensor in tensors:
        spec = matched.get(tensor.name)
        if tokenizer is not None and tensor.name in tokenizer.tensors:
            if tensor.name == tokenizer.ids:
                plans.append(_plan_tokens(tensor, spec, tokenizer))
        elif spec is None and is_table(tensor, tensors):
            plans += plan_columns(tensor, evidence.items, columns)
        else:
            plans.append(_plan_input(tensor, spec, framework, is_only, evidence))
    return deduplicate_names(plans)


def _choose_tokenizer(matched: Mapping[str, InputSpec], evidence: Evidence) -> Tokenizer | None:
    """The model's tokenizer, if its first tensor is declared as text."""
    tokenizer = evidence.tokenizer
    spec = matched.get(tokenizer.ids) if tokenizer else None
    return tokenizer if spec is not None and spec.kind == "text" else None


def _plan_tokens(tensor: TensorSpec, spec: InputSpec | None, tokenizer: Tokenizer) -> InputPlan:
    """One text field for all tensors of a tokenizer."""
    steps: tuple[Step, ...] = () if tensor.dtype == "int64" else (Cast(tensor.dtype),)
    name = spec.name if spec and spec.name not in (None, tensor.name) else None
    return InputPlan(Text(name or "text", _read_max(spec)), tensor, steps, tokenizer=tokenizer)


def _read_max(spec: InputSpec | None) -> int:
    """The most characters that a text may have."""
    return int(spec.options.get("max", "20000")) if spec else 20_000


def _plan_input(
    tensor: TensorSpec,
    spec: InputSpec | None,
    framework: str,
    is_only: bool,
    evidence: Evidence,
) -> InputPlan:
    kind = spec.kind if spec else _guess_kind(tensor)
    if kind == "text":
        return _plan_text(tensor, spec, is_only)
    if kind == "tensor":
        return _plan_tensor(tensor, spec, is_only)
    if spec and kind == "audio":
        return _plan_audio(tensor, spec, is_only)
    scale = spec.options.get("scale") if spec else None
    scale = scale or evidence.scales.get(tensor.name)
    given = spec is not None and ("mean" in spec.options or "std" in spec.options)
    if scale is None and not given:
        if spec is None and not evidence.ask:
            plan = _plan_tensor(tensor, None, is_only)
            return replace(plan, note=UNKNOWN_RANGE)
        raise _ask_scale(kind, tensor, spec)
    return _plan_picture(kind, tensor, spec, framework, is_only, scale or _mean_range(spec))


def _mean_range(spec: InputSpec | None) -> str:
    """The range of pixels that `mean` and `std` apply to where no scale is given.

    Nothing above 1: pixels 0..1, as for torchvision's models; else 0..255.
    """
    options = spec.options if spec else {}
    words = ",".join(options.get(key, "0") for key in ("mean", "std")).split(",")
    try:
        return "0..1" if max(float(word) for word in words) <= 1 else "none"
    except ValueError:
        return "none"  # `_scale_steps` raises the error


def _ask_scale(kind: str, tensor: TensorSpec, spec: InputSpec | None) -> UsageError:
    sides = spec.sides if spec and spec.sides else tensor.item_shape
    shape = format_sides(sides) if len(sides) > 1 else "HEIGHTxWIDTHxCHANNELS"
    return UsageError(
        f"The input {tensor.name!r} takes images as {tensor.dtype}, but nothing in the model says"
        " which range their pixels have.",
        hint=f"Say how it was trained: --input {kind}:{shape},scale=0..1 (or -1..1, imagenet,"
        " caffe, none for 0..255); or --input tensor, to send only numbers.",
    )


def _guess_kind(tensor: TensorSpec) -> str:
    if tensor.dtype == "string":
        return "text"
    shape = tensor.item_shape
    if len(shape) == 3 and tensor.dtype.startswith(("float", "uint8")):
        channels = channel_axis(shape, "nhwc")
        sides = [side for axis, side in enumerate(shape) if axis != channels]
        if channels is not None and all(s is None or s >= MIN_PICTURE_SIDE for s in sides):
            return "image"
    return "tensor"


def _plan_text(tensor: TensorSpec, spec: InputSpec | None, is_only: bool) -> InputPlan:
    if tensor.dtype != "string":
        raise UsageError(
            f"The input {tensor.name!r} expects {tensor.dtype} numbers, not text.",
            hint="Include the tokenizer in the model, or declare the input as a tensor.",
        )
    limit = _read_max(spec)
    sides = tensor.item_shape
    if any(side not in (1, None) for side in sides):
        raise UsageError(
            f"The input {tensor.name!r} takes {format_shape(sides)} strings, not one text.",
            hint="Import it with --input tensor.",
        )
    steps: tuple[Step, ...] = (Reshape((1,) * len(sides)),) if sides else ()
    return InputPlan(Text(choose_field_name(tensor, spec, "text", is_only), limit), tensor, steps)


def _plan_audio(tensor: TensorSpec, spec: InputSpec, is_only: bool) -> InputPlan:
    """Samples along the only side of the tensor that is not 1."""
    shape = tensor.item_shape
    sides = [side for side in shape if side != 1]
    if len(sides) != 1 or not tensor.dtype.startswith("float"):
        raise UsageError(
            f"The input {tensor.name!r} takes {tensor.dtype} of shape {format_shape(shape)}, which"
            " is not one channel of sound.",
            hint="Sound is float32 of shape [samples], such as [16000] or [?]. Import it with"
            " --input tensor.",
        )
    steps: list[Step] = []
    if len(shape) > 1:
        steps.append(Reshape(tuple(1 if side == 1 else -1 for side in shape)))
    if tensor.dtype != "float32":
        steps.append(Cast(tensor.dtype))
    name = choose_field_name(tensor, spec, "audio", is_only)
    return InputPlan(Audio(name, spec.rate, sides[0]), tensor, tuple(steps))


def _plan_tensor(tensor: TensorSpec, spec: InputSpec | None, is_only: bool) -> InputPlan:
    shape = tensor.item_shape
    if spec and spec.sides is not None:
        if len(spec.sides) != len(shape) or any(
            have is not None and want is not None and have != want
            for have, want in zip(shape, spec.sides, strict=True)
        ):
            raise UsageError(
                f"The model's input {tensor.name!r} has shape {format_shape(shape)}, not"
                f" {format_shape(spec.sides)}.",
                hint=f"Use: --input 'tensor:{tensor.dtype}[{format_shape(shape)[1:-1]}]'",
            )
        shape = tuple(
            want if have is None else have for have, want in zip(shape, spec.sides, strict=True)
        )
    dtype = (spec.dtype if spec else None) or tensor.dtype
    if "string" in (dtype, tensor.dtype) and dtype != tensor.dtype:
        raise UsageError(
            f"The input {tensor.name!r} is {tensor.dtype}, not {dtype}.",
            hint="Use --input tensor.",
        )
    steps: tuple[Step, ...] = () if dtype == tensor.dtype else (Cast(tensor.dtype),)
    if spec and "range" in spec.options:
        low, _, high = spec.options["range"].partition("..")
        if not (low.isdigit() and high.isdigit()):
            raise UsageError("range must be LOW..HIGH, in integers.", hint="For example 0..9999.")
        tensor = replace(tensor, limit=int(high) + 1)
    return InputPlan(
        Tensor(choose_field_name(tensor, spec, "input", is_only), dtype, shape), tensor, steps
    )


def _plan_picture(
    kind: str, tensor: TensorSpec, spec: InputSpec | None, framework: str, is_only: bool, scale: str
) -> InputPlan:
    layout = _find_layout(tensor, spec, framework)
    height, width, channels = _find_sides(kind, tensor, spec, layout)
    name = choose_field_name(tensor, spec, "image", is_only)
    options = dict(spec.options) if spec else {}
    steps = _scale_steps(scale, options, channels)
    field: Field
    if kind == "sketch":
        if height != width or height is None:
            raise UsageError(
                f"A sketch must be square, not {height}x{width}.", hint="Use image:..."
            )
        field = Sketch(name, height, int(options.get("box", round(height * 20 / 28))))
        if channels != 1:
            raise UsageError("A sketch has one channel.", hint="Use image:... for colour.")
        steps = [Reshape((height, height, 1)), *steps]
    else:
        field = _make_image(name, (height, width, channels), options)
    if layout == "nchw":
        steps.append(Transpose((0, 3, 1, 2)))
    elif layout == "grey":
        steps.append(Reshape((height or -1, width or -1)))
    elif layout == "flat":
        steps.append(Reshape((-1,)))
    if tensor.dtype != "float32":
        steps.append(Cast(tensor.dtype))
    return InputPlan(field, tensor, tuple(steps))


def _make_image(
    name: str, sides: tuple[int | None, int | None, int], options: Mapping[str, str]
) -> Image:
    """Raises `UsageError` if `resample`, `fit` or `resize` is invalid."""
    resize = options.get("resize")
    try:
        return Image(
            name,
            *sides,
            resample=options.get("resample", "bilinear"),
            fit=options.get("fit", "stretch"),
            resize=None if resize is None else int(resize),
        )
    except ValueError as error:
        raise UsageError(
            f"The image {name!r} cannot be resized like that: {error}.",
            hint=f"Use resample={'|'.join(FILTERS)}, fit={'|'.join(FITS)}, resize=PIXELS.",
        ) from error


def _find_layout(tensor: TensorSpec, spec: InputSpec | None, framework: str) -> str:
    layout = spec.options.get("layout") if spec else None
    if layout not in (None, "nhwc", "nchw"):
        raise UsageError(f"Unknown layout={layout}.", hint="Use nhwc or nchw.")
    shape = tensor.item_shape
    if len(shape) == 2:
        return "grey"
    if len(shape) == 1:
        return "flat"
    if len(shape) != 3:
        raise UsageError(
            f"The input {tensor.name!r} has shape {format_shape(shape)}, which is not a picture.",
            hint="Declare it as a tensor.",
        )
    if layout:
        return layout
    usual = "nchw" if framework in CHANNELS_FIRST else "nhwc"
    axis = channel_axis(shape, usual)
    return usual if axis is None else "nchw" if axis == 0 else "nhwc"


def _find_sides(
    kind: str, tensor: TensorSpec, spec: InputSpec | None, layout: str
) -> tuple[int | None, int | None, int]:
    """Height, width and channels of a picture."""
    shape = tensor.item_shape
    sides = spec.sides if spec and spec.sides else ()
    given = (*sides, 1 if kind == "sketch" or layout == "grey" else 3)[:3] if sides else ()
    if layout == "flat":
        if not given:
            side = math.isqrt(shape[0] or 0)
            if side * side != shape[0]:
                raise UsageError(
                    f"The shape of a picture of {shape[0]} numbers is ambiguous.",
                    hint=f"Specify it: --input {kind}:HEIGHTxWIDTHxCHANNELS",
                )
            return side, side, 1
        if len(sides) == 2 and shape[0] == math.prod(side or 0 for side in sides):
            given = (*sides, 1)
        have: Shape = given
        if None in given or math.prod(side or 0 for side in given) != shape[0]:
            raise UsageError(
                f"The model expects {shape[0]} numbers, not {format_shape(given)}.",
                hint="The product of the sides must be that number.",
            )
    elif layout == "grey":
        have = (*shape, 1)
    else:
        have = shape if layout == "nhwc" else (shape[1], shape[2], shape[0])
    if len(sides) == 2 and have[2] is not None:
        given = (*sides, have[2])
    if given and any(
        g is not None and h is not None and g != h for g, h in zip(given, have, strict=True)
    ):
        raise UsageError(
            f"The model's input {tensor.name!r} expects pictures of {format_sides(have)},"
            f" not {format_sides(given)}.",
            hint=f"Use: --input {kind}:{format_sides(have)}, or check layout=nhwc|nchw.",
        )
    height, width, channels = (
        g if h is None else h for h, g in zip(have, given or (None, None, None), strict=True)
    )
    if channels is None:
        channels = 1 if kind == "sketch" else 3
    if channels not in (1, 3):
        raise UsageError(f"A picture has 1 or 3 channels, not {channels}.", hint="Use a tensor.")
    if (height is None) != (width is None):
        raise UsageError("Give both height and width.", hint=f"--input {kind}:224x224x{channels}")
    return height, width, channels


def _scale_steps(scale: str, options: Mapping[str, str], channels: int) -> list[Step]:
    if scale in SCALES:
        multiply, offset = SCALES[scale]
    elif re.fullmatch(r"1/\d+(\.\d+)?", scale):
        multiply, offset = (1 / float(scale[2:]),), (0.0,)
    else:
        raise UsageError(
            f"Unknown scale={scale}.", hint=f"Use one of {', '.join(SCALES)}, or 1/NUMBER."
        )
    if channels == 1 and len(offset) > 1:
        raise UsageError(f"scale={scale} needs three channels.", hint="Use scale=0..1.")
    if "mean" in options or "std" in options:
        mean = _read_numbers(options.get("mean", "0"), channels)
        std = _read_numbers(options.get("std", "1"), channels)
        if 0 in std:
            raise UsageError("std contains 0.", hint="Standard deviations must be above 0.")
        count = max(len(mean), len(std), len(multiply), len(offset))
        mean, std, multiply, offset = (
            part * count if len(part) == 1 else part for part in (mean, std, multiply, offset)
        )
        offset = tuple((o - m) / s for o, m, s in zip(offset, mean, std, strict=True))
        multiply = tuple(f / s for f, s in zip(multiply, std, strict=True))
    order = options.get("order", "bgr" if scale == "caffe" else "rgb")
    if order not in ("rgb", "bgr"):
        raise UsageError(f"Unknown order={order}.", hint="Use rgb or bgr.")
    steps: list[Step] = [ReverseChannels()] if order == "bgr" and channels == 3 else []
    if any(f != 1 for f in multiply) or any(offset):
        steps.append(Affine(multiply, offset))
    return steps


def _read_numbers(text: str, channels: int) -> tuple[float, ...]:
    try:
        numbers = tuple(float(word) for word in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in (1, channels):
        raise UsageError(
            f"Expected 1 or {channels} numbers, not {text!r}.", hint="For example mean=0.5,0.5,0.5"
        )
    return numbers
