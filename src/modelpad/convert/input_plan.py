"""From a model's inputs, and what the user said of them, to fields and the steps between.

What the user said comes first, then what the model tells, then the plainest guess, which is noted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modelpad.convert.naming import (
    CHANNELS_FIRST,
    channel_axis,
    cross_shape,
    match_words,
    name_field,
    rename_twins,
    tell_shape,
)
from modelpad.convert.source import SourceModel, TensorSpec
from modelpad.convert.specs import InputSpec
from modelpad.convert.steps import Affine, Cast, Reshape, ReverseChannels, Step, Transpose
from modelpad.errors import UsageError
from modelpad.fields import Field, Image, Sketch, Tensor, Text

SMALLEST_PICTURE = 8
SCALES = {
    "none": ((1.0,), (0.0,)),
    "0..1": ((1 / 255,), (0.0,)),
    "-1..1": ((1 / 127.5,), (-1.0,)),
    # The means and deviations of ImageNet's pictures, as torchvision's models are trained with.
    "imagenet": (
        tuple(1 / 255 / std for std in (0.229, 0.224, 0.225)),
        tuple(-mean / std for mean, std in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))),
    ),
    # Blue, green and red less their means, as VGG and ResNet of Caffe's days.
    "caffe": ((1.0,), (-103.939, -116.779, -123.68)),
}


@dataclass(frozen=True, slots=True)
class InputPlan:
    """A field, the model's tensor behind it, and the steps from the one to the other."""

    field: Field
    spec: TensorSpec
    steps: tuple[Step, ...] = ()
    note: str = ""


def plan_inputs(source: SourceModel, said: Sequence[InputSpec]) -> tuple[InputPlan, ...]:
    """A plan for each input. Raises `UsageError` when what was said does not fit the model."""
    words = match_words(said, source.inputs, "input")
    alone = len(source.inputs) == 1
    return rename_twins(
        [_plan_input(spec, words.get(spec.name), source, alone) for spec in source.inputs]
    )


def _plan_input(
    spec: TensorSpec, words: InputSpec | None, source: SourceModel, alone: bool
) -> InputPlan:
    kind = words.kind if words else _guess_kind(spec)
    if kind == "text":
        return _plan_text(spec, words, alone)
    if kind == "tensor":
        return _plan_tensor(spec, words, alone)
    return _plan_picture(kind, spec, words, source, alone)


def _guess_kind(spec: TensorSpec) -> str:
    if spec.dtype == "string":
        return "text"
    shape = spec.item_shape
    if len(shape) == 3 and spec.dtype.startswith(("float", "uint8")):
        channels = channel_axis(shape, "nhwc")
        sides = [side for axis, side in enumerate(shape) if axis != channels]
        if channels is not None and all(s is None or s >= SMALLEST_PICTURE for s in sides):
            return "image"
    return "tensor"


def _plan_text(spec: TensorSpec, words: InputSpec | None, alone: bool) -> InputPlan:
    if spec.dtype != "string":
        raise UsageError(
            f"The input {spec.name!r} takes {spec.dtype} numbers, not text.",
            hint="Put the tokeniser into the model, or give the numbers as a tensor.",
        )
    limit = int(words.options.get("max", "20000")) if words else 20_000
    steps: tuple[Step, ...] = (Reshape((1,)),) if len(spec.shape) == 2 else ()
    return InputPlan(Text(name_field(spec, words, "text", alone), limit), spec, steps)


def _plan_tensor(spec: TensorSpec, words: InputSpec | None, alone: bool) -> InputPlan:
    shape = spec.item_shape
    if words and words.sides is not None:
        if len(words.sides) != len(shape) or any(
            have is not None and want is not None and have != want
            for have, want in zip(shape, words.sides, strict=True)
        ):
            raise UsageError(
                f"The model's input {spec.name!r} has shape {tell_shape(shape)}, not"
                f" {tell_shape(words.sides)}.",
                hint=f"Write: --input 'tensor:{spec.dtype}[{tell_shape(shape)[1:-1]}]'",
            )
        shape = tuple(
            want if have is None else have for have, want in zip(shape, words.sides, strict=True)
        )
    dtype = (words.dtype if words else None) or spec.dtype
    steps: tuple[Step, ...] = () if dtype == spec.dtype else (Cast(spec.dtype),)
    if words and "range" in words.options:
        low, _, high = words.options["range"].partition("..")
        if not (low.isdigit() and high.isdigit()):
            raise UsageError("range is LOW..HIGH in whole numbers.", hint="For example 0..9999.")
        spec = TensorSpec(spec.name, spec.dtype, spec.shape, int(high) + 1)
    return InputPlan(Tensor(name_field(spec, words, "input", alone), dtype, shape), spec, steps)


def _plan_picture(
    kind: str, spec: TensorSpec, words: InputSpec | None, source: SourceModel, alone: bool
) -> InputPlan:
    layout = _find_layout(spec, words, source.framework)
    height, width, channels = _find_sides(kind, spec, words, layout)
    name = name_field(spec, words, "image", alone)
    options = dict(words.options) if words else {}
    scale = options.get("scale")
    note = ""
    if scale is None:
        scale = "none" if source.scales_itself else "0..1"
        what = (
            "left at 0..255, as the model scales them itself"
            if source.scales_itself
            else ("scaled to 0..1")
        )
        note = f"pixels are {what}; if it was trained otherwise, say scale=..."
    steps = _scale_steps(scale, options, channels)
    field: Field
    if kind == "sketch":
        if height != width or height is None:
            raise UsageError(f"A sketch is square, not {height}x{width}.", hint="Use image:...")
        field = Sketch(name, height, int(options.get("box", round(height * 20 / 28))))
        if channels != 1:
            raise UsageError("A sketch has one channel.", hint="Use image:... for colours.")
        steps = [Reshape((height, height, 1)), *steps]
    else:
        field = Image(name, height, width, channels)
    if layout == "nchw":
        steps.append(Transpose((0, 3, 1, 2)))
    elif layout == "grey":
        steps.append(Reshape((height or -1, width or -1)))
    elif layout == "flat":
        steps.append(Reshape((-1,)))
    if spec.dtype != "float32":
        steps.append(Cast(spec.dtype))
    return InputPlan(field, spec, tuple(steps), note)


def _find_layout(spec: TensorSpec, words: InputSpec | None, framework: str) -> str:
    said = words.options.get("layout") if words else None
    if said is not None and said not in ("nhwc", "nchw"):
        raise UsageError(f"layout={said} is unknown.", hint="It is nhwc or nchw.")
    shape = spec.item_shape
    if len(shape) == 2:
        return "grey"
    if len(shape) == 1:
        return "flat"
    if len(shape) != 3:
        raise UsageError(
            f"The input {spec.name!r} of shape {tell_shape(shape)} is no picture.",
            hint="Give it as a tensor.",
        )
    if said:
        return said
    usual = "nchw" if framework in CHANNELS_FIRST else "nhwc"
    axis = channel_axis(shape, usual)
    return usual if axis is None else "nchw" if axis == 0 else "nhwc"


def _find_sides(
    kind: str, spec: TensorSpec, words: InputSpec | None, layout: str
) -> tuple[int | None, int | None, int]:
    shape = spec.item_shape
    sides = words.sides if words and words.sides else ()
    said = (*sides, 1 if kind == "sketch" or layout == "grey" else 3)[:3] if sides else ()
    if layout == "flat":
        if not said:
            side = int(np.sqrt(shape[0] or 0))
            if side * side != shape[0]:
                raise UsageError(
                    f"How is a picture of {shape[0]} numbers shaped?",
                    hint=f"Say so: --input {kind}:HEIGHTxWIDTHxCHANNELS",
                )
            return side, side, 1
        if len(sides) == 2 and None not in sides and shape[0] == sides[0] * sides[1]:  # type: ignore[operator]
            said = (*sides, 1)
        have: tuple[int | None, ...] = said
        if None in said or np.prod([side or 0 for side in said]) != shape[0]:
            raise UsageError(
                f"The model takes {shape[0]} numbers, not {tell_shape(said)}.",
                hint="The sides multiplied must give that number.",
            )
    elif layout == "grey":
        have = (*shape, 1)
    else:
        have = shape if layout == "nhwc" else (shape[1], shape[2], shape[0])
    if len(sides) == 2 and have[2] is not None:
        said = (*sides, have[2])
    if said and any(
        w is not None and h is not None and w != h for w, h in zip(said, have, strict=True)
    ):
        raise UsageError(
            f"The model's input {spec.name!r} takes pictures of {cross_shape(have)},"
            f" not {cross_shape(said)}.",
            hint=f"Write: --input {kind}:{cross_shape(have)}, or check layout=nhwc|nchw.",
        )
    joined = [
        h if h is not None else w for h, w in zip(have, said or (None, None, None), strict=True)
    ]
    height, width, channels = joined
    if channels is None:
        channels = 1 if kind == "sketch" else 3
    if channels not in (1, 3):
        raise UsageError(f"A picture has 1 or 3 channels, not {channels}.", hint="Use a tensor.")
    if (height is None) != (width is None):
        raise UsageError("Give height and width.", hint=f"--input {kind}:224x224x{channels}")
    return height, width, channels


def _scale_steps(scale: str, options: dict[str, str], channels: int) -> list[Step]:
    if scale in SCALES:
        multiply, offset = SCALES[scale]
    elif re.fullmatch(r"1/\d+(\.\d+)?", scale):
        multiply, offset = (1 / float(scale[2:]),), (0.0,)
    else:
        raise UsageError(
            f"scale={scale} is unknown.", hint=f"It is one of {', '.join(SCALES)}, or 1/NUMBER."
        )
    if channels == 1 and len(offset) > 1:
        raise UsageError(f"scale={scale} is for three channels.", hint="Use scale=0..1.")
    if "mean" in options or "std" in options:
        mean = _read_numbers(options.get("mean", "0"), channels)
        std = _read_numbers(options.get("std", "1"), channels)
        if 0 in std:
            raise UsageError("std has a zero.", hint="Deviations are above 0.")
        wide = max(len(mean), len(std), len(multiply), len(offset))
        mean, std, multiply, offset = (
            part * wide if len(part) == 1 else part for part in (mean, std, multiply, offset)
        )
        offset = tuple((o - m) / s for o, m, s in zip(offset, mean, std, strict=True))
        multiply = tuple(f / s for f, s in zip(multiply, std, strict=True))
    order = options.get("order", "bgr" if scale == "caffe" else "rgb")
    if order not in ("rgb", "bgr"):
        raise UsageError(f"order={order} is unknown.", hint="It is rgb or bgr.")
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
        raise UsageError(f"{text!r} is not 1 or {channels} numbers.", hint="mean=0.5,0.5,0.5")
    return numbers
