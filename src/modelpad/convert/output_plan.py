"""Plans a field, and its postprocessing steps, for each of a model's outputs.

Where the user's specs leave it open, the graph's last operators and the model's outputs on the
samples decide; where these leave it open too, the user has to say it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from modelpad.convert.naming import (
    CHANNELS_FIRST,
    channel_axis,
    choose_field_name,
    deduplicate_names,
    format_shape,
    match_specs,
)
from modelpad.convert.plans import OutputPlan
from modelpad.convert.source import SourceModel, TensorSpec
from modelpad.convert.specs import OutputSpec
from modelpad.errors import UsageError
from modelpad.fields import Image, Label, Score, Tensor, Text
from modelpad.fields.arrays import Array
from modelpad.fields.steps import (
    Affine,
    Complement,
    Reshape,
    Sigmoid,
    Softmax,
    Step,
    Transpose,
)

MANY_CLASSES, DEFAULT_TOP = 20, 10  # with more classes than that, a response has the top ten
PROBABILITIES = ("Softmax", "Sigmoid", "HardSigmoid")  # operators that give them
UNBOUNDED = ("Add", "Conv", "Gemm", "MatMul")  # operators of layers without an activation
MULTI_LABEL = "multi-label"  # logits of classes that do not exclude each other
RANGES = {"Tanh": "-1..1", "Sigmoid": "0..1", "HardSigmoid": "0..1"}
OUTPUT_SCALES = {"none": (1.0, 0.0), "0..1": (255.0, 0.0), "-1..1": (127.5, 127.5)}


@dataclass(frozen=True, slots=True)
class Observed:
    """What is known about an output: its spec, its array (batch, ...) for some items, the graph's
    last operator, and whether it is the only output of its kind."""

    spec: TensorSpec
    array: Array
    last: str = ""
    is_only: bool = True


def plan_outputs(
    source: SourceModel, specs: Sequence[OutputSpec], observed: Sequence[Observed]
) -> tuple[tuple[OutputPlan, ...], tuple[TensorSpec, ...]]:
    """A plan for each output, and the outputs that need none.

    Those are a classifier's predicted classes, next to the scores of all of them.

    Raises `UsageError` if a spec does not fit the model, or leaves open what the numbers are.
    """
    matched = match_specs(specs, [seen.spec for seen in observed], "output")
    redundant = [] if matched else find_predicted_classes(source, observed)
    shown = [seen for seen in observed if seen.spec.name not in redundant]
    if len(shown) == 1:
        shown = [replace(shown[0], is_only=True)]
    plans = [_plan_output(seen.spec, matched.get(seen.spec.name), seen, source) for seen in shown]
    others = tuple(seen.spec for seen in observed if seen.spec.name in redundant)
    return deduplicate_names(plans), others


def find_predicted_classes(source: SourceModel, observed: Sequence[Observed]) -> list[str]:
    """The output with a classifier's predicted classes, if another has their scores."""
    count = len(source.classes)
    scored = [seen for seen in observed if count and seen.array.shape[1:] == (count,)]
    plain = [seen for seen in observed if seen.array.ndim == 1 and seen.array.dtype.kind != "f"]
    return [plain[0].spec.name] if len(scored) == len(plain) == 1 else []


def _plan_output(
    tensor: TensorSpec, spec: OutputSpec | None, seen: Observed, source: SourceModel
) -> OutputPlan:
    output, is_only = seen.array, seen.is_only
    kind = spec.kind if spec else _guess_output(output, source, is_only)
    if kind == "labels":
        return _plan_labels(tensor, spec, seen, source)
    if kind == "image":
        return _plan_image(tensor, spec, seen, source)
    if kind == "score":
        return _plan_score(tensor, spec, output, is_only)
    if output.dtype.kind in "OSU" and output[:1].size == 1:
        steps: tuple[Step, ...] = (Reshape(()),) if output.ndim > 1 else ()
        return OutputPlan(Text(choose_field_name(tensor, spec, "text", is_only)), tensor, steps)
    is_known = len(tensor.item_shape) == output.ndim - 1
    shape = tensor.item_shape if is_known else (None,) * (output.ndim - 1)
    dtype = "string" if output.dtype.kind in "OSU" else str(output.dtype)
    name = choose_field_name(tensor, spec, "output", is_only)
    return OutputPlan(Tensor(name, dtype, shape), tensor)


def _guess_output(output: Array, source: SourceModel, is_only: bool) -> str:
    if output.dtype.kind == "f" and output.ndim <= 2 and output[:1].size == 1:
        return "labels" if is_only and len(source.classes) == 2 else "score"
    if output.ndim != 2 or output.dtype.kind != "f":
        return "tensor"
    known = is_only and len(source.classes) == output.shape[1]
    return "labels" if known or _are_probabilities(output) else "tensor"


def _are_probabilities(output: Array) -> bool:
    """Whether every row is non-negative and sums to 1."""
    rows = output.astype(np.float64)
    return bool(rows.min() >= -1e-6 and np.allclose(rows.sum(axis=-1), 1, atol=1e-3))


def _plan_labels(
    tensor: TensorSpec, spec: OutputSpec | None, seen: Observed, source: SourceModel
) -> OutputPlan:
    output, is_only = seen.array, seen.is_only
    count = int(np.prod(output.shape[1:], dtype=np.int64))
    classes = (spec.classes if spec else ()) or source.classes
    binary = count == 1
    expected = 2 if binary else count
    if classes and len(classes) != expected:
        raise UsageError(
            f"{len(classes)} class names are given, but the model's output {tensor.name!r}"
            f" has {expected} classes.",
            hint="Give one name for each class, in the model's order.",
        )
    classes = classes or tuple(str(number) for number in range(expected))
    steps: list[Step] = [Reshape((-1,))] if output.ndim != 2 else []
    origin = _choose_origin(spec) or _find_origin(tensor, seen)
    if origin == "logits":
        steps.append(Sigmoid() if binary else Softmax())
    elif origin == MULTI_LABEL:
        steps.append(Sigmoid())
    if binary:
        steps.append(Complement())
    added = origin == "logits" and not (spec and "from" in spec.options)
    function = "sigmoid" if binary else "softmax"
    note = f"a {function} is added for the labels, since the model returns logits" if added else ""
    option = spec.options.get("top") if spec else None
    top = int(option) if option and option.isdigit() else None
    if top is None and len(classes) > MANY_CLASSES:
        top = DEFAULT_TOP
    name = choose_field_name(tensor, spec, "label", is_only)
    label = Label(name, classes, top, multiple=origin == MULTI_LABEL and not binary)
    return OutputPlan(label, tensor, tuple(steps), note)


def _choose_origin(spec: OutputSpec | None) -> str | None:
    """What the user says that scores are: `logits`, `multi-label`, `probabilities`, or nothing."""
    origin = spec.options.get("from") if spec else None
    if origin not in (None, "logits", MULTI_LABEL, "probabilities"):
        raise UsageError(
            f"Unknown from={origin}.",
            hint=f"Use logits, {MULTI_LABEL} (logits of classes that do not exclude each other) or"
            " probabilities.",
        )
    return origin


def _find_origin(tensor: TensorSpec, seen: Observed) -> str:
    """What scores are, by the graph's last operator or the model's own numbers."""
    numbers = seen.array.astype(np.float64).reshape(len(seen.array), -1)
    if seen.last in PROBABILITIES:
        return "probabilities"
    if seen.last in UNBOUNDED or numbers.min() < -1e-6 or numbers.max() > 1 + 1e-6:
        return "logits"
    if numbers.shape[1] == 1 or _are_probabilities(numbers):
        return "probabilities"
    raise UsageError(
        f"The numbers of the output {tensor.name!r} are neither clearly probabilities nor logits:"
        " they are between 0 and 1, but do not sum to 1.",
        hint="Say what they are: --output labels:A,B,from=probabilities (or from=logits).",
    )


def _plan_score(
    tensor: TensorSpec, spec: OutputSpec | None, output: Array, is_only: bool
) -> OutputPlan:
    if int(np.prod(output.shape[1:], dtype=np.int64)) != 1:
        raise UsageError(
            f"The output {tensor.name!r} has shape {format_shape(output.shape[1:])}, which is not"
            " one score.",
            hint="Use --output tensor or --output labels:...",
        )
    steps: list[Step] = [] if output.ndim == 1 else [Reshape(())]
    if _choose_origin(spec) == "logits":
        steps.append(Sigmoid())
    return OutputPlan(
        Score(choose_field_name(tensor, spec, "score", is_only)), tensor, tuple(steps)
    )


def _plan_image(
    tensor: TensorSpec, spec: OutputSpec | None, seen: Observed, source: SourceModel
) -> OutputPlan:
    output, is_only = seen.array, seen.is_only
    options = spec.options if spec else {}
    if output.ndim == 3:
        output = output[..., None]
        steps: list[Step] = [Reshape((*output.shape[1:3], 1))]
        axis: int | None = 2
    else:
        steps = []
        usual = "nchw" if source.framework in CHANNELS_FIRST else "nhwc"
        layout = options.get("layout", usual)
        axis = channel_axis(output.shape[1:], layout) if output.ndim == 4 else None
    if axis is None:
        raise UsageError(
            f"The output {tensor.name!r} has shape {format_shape(output.shape[1:])}, which is not"
            " a picture.",
            hint="Use --output tensor.",
        )
    channels = output.shape[1 + axis]
    if axis == 0:
        steps.append(Transpose((0, 2, 3, 1)))
    scale = options.get("scale") or _find_scale(tensor, seen)
    if scale not in OUTPUT_SCALES:
        raise UsageError(f"Unknown scale={scale}.", hint=f"Use one of {', '.join(OUTPUT_SCALES)}.")
    multiply, offset = OUTPUT_SCALES[scale]
    if multiply != 1:
        steps.append(Affine((multiply,), (offset,)))
    return OutputPlan(
        Image(choose_field_name(tensor, spec, "image", is_only), None, None, channels),
        tensor,
        tuple(steps),
    )


def _find_scale(tensor: TensorSpec, seen: Observed) -> str:
    """The range of an image's numbers, by the graph's last operator or the numbers."""
    if seen.last in RANGES:
        return RANGES[seen.last]
    if seen.array.dtype.kind in "iu" or float(seen.array.astype(np.float64).max()) > 2:
        return "none"
    raise UsageError(
        f"Nothing says which range the image {tensor.name!r} has.",
        hint="Say it: --output image,scale=0..1 (or -1..1, or none for 0..255).",
    )
