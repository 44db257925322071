"""Plans a field, and its postprocessing steps, for each of a model's outputs.

Where the user's specs leave it open, the model's outputs on the samples decide.
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
    rename_field,
)
from modelpad.convert.source import Shape, SourceModel, TensorSpec
from modelpad.convert.specs import OutputSpec
from modelpad.convert.steps import (
    Affine,
    Complement,
    Reshape,
    Sigmoid,
    Softmax,
    Step,
    Transpose,
    apply_steps,
)
from modelpad.errors import UsageError
from modelpad.fields import Field, Image, Label, Score, Tensor, Text
from modelpad.fields.arrays import Array, Arrays

MANY_CLASSES, DEFAULT_TOP = 20, 10  # with more classes than that, a response has the top ten
OUTPUT_SCALES = {"none": (1.0, 0.0), "0..1": (255.0, 0.0), "-1..1": (127.5, 127.5)}


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """A field, the model's tensor for it, and the steps from the tensor to the field.

    `shape` (starting with the batch axis) and `dtype` are those of the result of the steps.
    """

    field: Field
    spec: TensorSpec
    steps: tuple[Step, ...] = ()
    note: str = ""
    shape: Shape = ()
    dtype: str = "float32"

    def renamed(self, name: str) -> OutputPlan:
        """A copy whose field has another name."""
        return replace(self, field=rename_field(self.field, name))


def plan_outputs(
    source: SourceModel, specs: Sequence[OutputSpec], samples: Arrays
) -> tuple[OutputPlan, ...]:
    """A plan for each output. `samples` are the model's outputs (batch, ...) for some inputs.

    Raises `UsageError` if a spec does not fit the model.
    """
    matched = match_specs(specs, source.outputs, "output")
    is_only = len(source.outputs) == 1
    plans = [
        _plan_output(tensor, matched.get(tensor.name), samples[tensor.name], source, is_only)
        for tensor in source.outputs
    ]
    return deduplicate_names([_with_shape(plan, samples[plan.spec.name]) for plan in plans])


def _with_shape(plan: OutputPlan, output: Array) -> OutputPlan:
    """The plan with the shape and dtype that its steps produce."""
    result = apply_steps(plan.steps, output)
    sides: Shape = result.shape[1:]
    if isinstance(plan.field, Image):
        sides = (None, None, sides[2])
    elif not plan.steps and len(plan.spec.shape) == result.ndim:
        sides = plan.spec.item_shape
    dtype = "string" if result.dtype.kind in "OSU" else str(result.dtype)
    return replace(plan, shape=(None, *sides), dtype=dtype)


def _plan_output(
    tensor: TensorSpec,
    spec: OutputSpec | None,
    output: Array,
    source: SourceModel,
    is_only: bool,
) -> OutputPlan:
    kind = spec.kind if spec else _guess_output(output, source, is_only)
    if kind == "labels":
        return _plan_labels(tensor, spec, output, source, is_only)
    if kind == "image":
        return _plan_image(tensor, spec, output, source, is_only)
    if kind == "score":
        return _plan_score(tensor, spec, output, is_only)
    if output.dtype.kind in "OSU":
        return OutputPlan(Text(choose_field_name(tensor, spec, "text", is_only)), tensor)
    is_known = len(tensor.shape) == output.ndim
    shape = tensor.item_shape if is_known else (None,) * (output.ndim - 1)
    return OutputPlan(
        Tensor(choose_field_name(tensor, spec, "output", is_only), str(output.dtype), shape), tensor
    )


def _guess_output(output: Array, source: SourceModel, is_only: bool) -> str:
    if output.dtype.kind == "f" and output.ndim <= 2 and output[0].size == 1:
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
    tensor: TensorSpec,
    spec: OutputSpec | None,
    output: Array,
    source: SourceModel,
    is_only: bool,
) -> OutputPlan:
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
    if binary:
        numbers = output.astype(np.float64)
        normalised = bool(numbers.min() >= 0 and numbers.max() <= 1)
    else:
        normalised = _are_probabilities(output.reshape(len(output), -1))
    origin = _choose_origin(spec, normalised)
    if origin == "logits":
        steps.append(Sigmoid() if binary else Softmax())
    if binary:
        steps.append(Complement())
    added = origin == "logits" and not (spec and "from" in spec.options)
    note = "a softmax is added, since the outputs are not probabilities" if added else ""
    option = spec.options.get("top") if spec else None
    top = int(option) if option and option.isdigit() else None
    if top is None and len(classes) > MANY_CLASSES:
        top = DEFAULT_TOP
    name = choose_field_name(tensor, spec, "label", is_only)
    return OutputPlan(Label(name, classes, top), tensor, tuple(steps), note)


def _choose_origin(spec: OutputSpec | None, normalised: bool) -> str:
    """Whether scores are `logits` or `probabilities`."""
    origin = spec.options.get("from") if spec else None
    if origin not in (None, "logits", "probabilities"):
        raise UsageError(f"Unknown from={origin}.", hint="Use logits or probabilities.")
    return origin or ("probabilities" if normalised else "logits")


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
    if spec and _choose_origin(spec, True) == "logits":
        steps.append(Sigmoid())
    return OutputPlan(
        Score(choose_field_name(tensor, spec, "score", is_only)), tensor, tuple(steps)
    )


def _plan_image(
    tensor: TensorSpec,
    spec: OutputSpec | None,
    output: Array,
    source: SourceModel,
    is_only: bool,
) -> OutputPlan:
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
    scale = options.get("scale")
    if scale is None:
        numbers = output.astype(np.float64)
        low, high = float(numbers.min()), float(numbers.max())
        scale = "none" if high > 1.5 else "-1..1" if low < -0.05 else "0..1"
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
