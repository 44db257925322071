"""Names and shapes that the plans of inputs and of outputs both deal with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from modelpad.convert.source import TensorSpec
from modelpad.convert.specs import InputSpec, OutputWords
from modelpad.errors import UsageError

# Names that frameworks make up, which tell a person nothing.
AUTOMATIC_NAME = re.compile(
    r"(keras_tensor|input_layer|input|inputs|output|outputs|x|args|identity|linear|float_input"
    r"|variable|probabilities|dense|gemm|softmax|activation|flatten|statefulpartitionedcall)?[_.\d]*",
    re.IGNORECASE,
)
CHANNELS_FIRST = ("pytorch", "torchscript", "fastai")


def match_words(said: Sequence[Any], specs: Sequence[TensorSpec], side: str) -> dict[str, Any]:
    """What was said, by the name of the tensor it is said of; unnamed words go by position.

    Raises `UsageError` for a name that there is not, too many words, and words said twice.
    """
    found: dict[str, Any] = {}
    names = [spec.name for spec in specs]
    for position, words in enumerate(said):
        name = words.name if words.name in names else None
        if words.name is not None and name is None and len(specs) > 1:
            raise UsageError(
                f"The model has no {side} {words.name!r}.", hint=f"It has: {', '.join(names)}."
            )
        if name is None:
            if position >= len(specs):
                raise UsageError(
                    f"{len(said)} --{side} are given; the model has {len(specs)}.",
                    hint=f"Its {side}s: {', '.join(names)}.",
                )
            name = names[position]
        if name in found:
            raise UsageError(f"--{side} for {name!r} is given twice.", hint="Give it once.")
        found[name] = words
    return found


def channel_axis(shape: Sequence[int | None], layout: str) -> int | None:
    """0 or 2: where 1 or 3 channels lie; the layout decides when both could; None when neither."""
    first, last = shape[0] in (1, 3), shape[2] in (1, 3)
    if first and last:
        return 0 if layout == "nchw" else 2
    return 0 if first else 2 if last else None


def name_field(
    spec: TensorSpec, words: InputSpec | OutputWords | None, usual: str, alone: bool
) -> str:
    """What the user calls it, else the model where it chose a name, else what is usual."""
    if words and words.name:
        return words.name
    own = re.sub(r"^serving_default_|:\d+$", "", spec.name).rpartition("/")[2]
    if AUTOMATIC_NAME.fullmatch(own) or (alone and usual != "input" and usual != "output"):
        return usual
    return re.sub(r"[^A-Za-z0-9_.-]", "_", own)


def rename_twins(plans: list[Any]) -> tuple[Any, ...]:
    """The plans with names that are all different."""
    names = [plan.field.name for plan in plans]
    out = []
    for index, plan in enumerate(plans):
        if names.count(plan.field.name) > 1:
            plan = replace(plan, field=replace(plan.field, name=f"{plan.field.name}{index + 1}"))
        out.append(plan)
    return tuple(out)


def tell_shape(shape: Sequence[int | None]) -> str:
    """`[1, ?, 3]`."""
    return "[" + ", ".join("?" if side is None else str(side) for side in shape) + "]"


def cross_shape(shape: Sequence[int | None]) -> str:
    """`1x?x3`."""
    return "x".join("?" if side is None else str(side) for side in shape)
