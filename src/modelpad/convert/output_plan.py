"""From a model's outputs, and what the user said of them, to fields and the steps between.

The model's own answers to the samples tell what kind of numbers they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelpad.convert.naming import (
    CHANNELS_FIRST,
    channel_axis,
    match_words,
    name_field,
    rename_twins,
    tell_shape,
)
from modelpad.convert.source import Arrays, SourceModel, TensorSpec
from modelpad.convert.specs import OutputWords
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

MANY_CLASSES = 20
OUTPUT_SCALES = {"none": (1.0, 0.0), "0..1": (255.0, 0.0), "-1..1": (127.5, 127.5)}


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """A model's tensor, the field that shows it, and the steps from the one to the other.

    `shape` (the batch first, None where free) and `dtype` are those of the finished tensor.
    """

    field: Field
    spec: TensorSpec
    steps: tuple[Step, ...] = ()
    note: str = ""
    shape: tuple[int | None, ...] = ()
    dtype: str = "float32"


def plan_outputs(
    source: SourceModel, said: Sequence[OutputWords], answers: Arrays
) -> tuple[OutputPlan, ...]:
    """A plan for each output, with `answers` (batch, ...) to see what kind of numbers they are.

    Raises `UsageError` when what was said does not fit the model.
    """
    words = match_words(said, source.outputs, "output")
    alone = len(source.outputs) == 1
    plans = [
        _plan_output(spec, words.get(spec.name), answers[spec.name], source, alone)
        for spec in source.outputs
    ]
    return rename_twins([_measure(plan, answers[plan.spec.name]) for plan in plans])


def _measure(plan: OutputPlan, answer: NDArray[Any]) -> OutputPlan:
    """The plan with the shape and dtype that its steps give."""
    finished = apply_steps(plan.steps, answer)
    sides: tuple[int | None, ...] = finished.shape[1:]
    if isinstance(plan.field, Image):
        sides = (None, None, sides[2])
    elif not plan.steps and len(plan.spec.shape) == finished.ndim:
        sides = plan.spec.item_shape
    dtype = "string" if finished.dtype.kind in "OSU" else str(finished.dtype)
    return replace(plan, shape=(None, *sides), dtype=dtype)


def _plan_output(
    spec: TensorSpec,
    words: OutputWords | None,
    answer: NDArray[Any],
    source: SourceModel,
    alone: bool,
) -> OutputPlan:
    kind = words.kind if words else _guess_output(answer, source, alone)
    if kind == "labels":
        return _plan_labels(spec, words, answer, source, alone)
    if kind == "image":
        return _plan_image_out(spec, words, answer, source, alone)
    if kind == "score":
        return _plan_score(spec, words, answer, alone)
    if answer.dtype.kind in "OSU":
        return OutputPlan(Text(name_field(spec, words, "text", alone)), spec)
    told = len(spec.shape) == answer.ndim  # else the source does not say
    shape = spec.item_shape if told else (None,) * (answer.ndim - 1)
    return OutputPlan(
        Tensor(name_field(spec, words, "output", alone), str(answer.dtype), shape), spec
    )


def _guess_output(answer: NDArray[Any], source: SourceModel, alone: bool) -> str:
    if answer.dtype.kind == "f" and answer.ndim <= 2 and answer[0].size == 1:
        return "labels" if alone and len(source.classes) == 2 else "score"
    if answer.ndim != 2 or answer.dtype.kind != "f":
        return "tensor"
    known = alone and len(source.classes) == answer.shape[1]
    return "labels" if known or _are_shares(answer) else "tensor"


def _are_shares(answer: NDArray[Any]) -> bool:
    """Whether every row is from 0 to 1 and adds up to 1."""
    return bool(answer.min() >= -1e-6 and np.allclose(answer.sum(axis=-1), 1, atol=1e-3))


def _plan_labels(
    spec: TensorSpec,
    words: OutputWords | None,
    answer: NDArray[Any],
    source: SourceModel,
    alone: bool,
) -> OutputPlan:
    count = int(np.prod(answer.shape[1:], dtype=np.int64))
    classes = (words.classes if words else ()) or source.classes
    binary = count == 1
    expected = 2 if binary else count
    if classes and len(classes) != expected:
        raise UsageError(
            f"{len(classes)} class names are given; the model's output {spec.name!r}"
            f" has {expected}.",
            hint="Give one name a class, in the order of the model's outputs.",
        )
    classes = classes or tuple(str(number) for number in range(expected))
    steps: list[Step] = [Reshape((-1,))] if answer.ndim != 2 else []
    shares = (
        bool(answer.min() >= 0 and answer.max() <= 1)
        if binary
        else (_are_shares(answer.reshape(len(answer), -1)))
    )
    origin = _read_origin(words, shares)
    if origin == "logits":
        steps.append(Sigmoid() if binary else Softmax())
    if binary:
        steps.append(Complement())
    note = (
        "a softmax is added, as its numbers are no shares"
        if origin == "logits" and not (words and "from" in words.options)
        else ""
    )
    top = words.options.get("top") if words else None
    most = int(top) if top and top.isdigit() else 10 if len(classes) > MANY_CLASSES else None
    return OutputPlan(
        Label(name_field(spec, words, "label", alone), classes, most), spec, tuple(steps), note
    )


def _read_origin(words: OutputWords | None, shares: bool) -> str:
    said = words.options.get("from") if words else None
    if said not in (None, "logits", "probabilities"):
        raise UsageError(f"from={said} is unknown.", hint="It is logits or probabilities.")
    return said or ("probabilities" if shares else "logits")


def _plan_score(
    spec: TensorSpec, words: OutputWords | None, answer: NDArray[Any], alone: bool
) -> OutputPlan:
    if int(np.prod(answer.shape[1:], dtype=np.int64)) != 1:
        raise UsageError(
            f"The output {spec.name!r} is {tell_shape(answer.shape[1:])} numbers, not one score.",
            hint="Use --output tensor or --output labels:...",
        )
    steps: list[Step] = [] if answer.ndim == 1 else [Reshape(())]
    if words and _read_origin(words, True) == "logits":
        steps.append(Sigmoid())
    return OutputPlan(Score(name_field(spec, words, "score", alone)), spec, tuple(steps))


def _plan_image_out(
    spec: TensorSpec,
    words: OutputWords | None,
    answer: NDArray[Any],
    source: SourceModel,
    alone: bool,
) -> OutputPlan:
    options = words.options if words else {}
    if answer.ndim == 3:
        answer = answer[..., None]
        steps: list[Step] = [Reshape((*answer.shape[1:3], 1))]
        axis: int | None = 2
    else:
        steps = []
        usual = "nchw" if source.framework in CHANNELS_FIRST else "nhwc"
        layout = options.get("layout", usual)
        axis = channel_axis(answer.shape[1:], layout) if answer.ndim == 4 else None
    if axis is None:
        raise UsageError(
            f"The output {spec.name!r} of shape {tell_shape(answer.shape[1:])} is no picture.",
            hint="Use --output tensor.",
        )
    channels = answer.shape[1 + axis]
    if axis == 0:
        steps.append(Transpose((0, 2, 3, 1)))
    scale = options.get("scale")
    if scale is None:
        low, high = float(answer.min()), float(answer.max())
        scale = "none" if high > 1.5 else "-1..1" if low < -0.05 else "0..1"
    if scale not in OUTPUT_SCALES:
        raise UsageError(f"scale={scale} is unknown.", hint=f"One of {', '.join(OUTPUT_SCALES)}.")
    multiply, offset = OUTPUT_SCALES[scale]
    if multiply != 1:
        steps.append(Affine((multiply,), (offset,)))
    return OutputPlan(
        Image(name_field(spec, words, "image", alone), None, None, channels), spec, tuple(steps)
    )
