"""The syntax of `--input` and `--output`: `[NAME=]KIND[:SHAPE][,KEY=VALUE...]`.

    image:224x224x3,scale=imagenet      sketch:28x28      tensor:float32[4]      text
    age=number:unit=years,min=0,max=120        port=choice:S,C,Q        audio:16000
    labels:cat,dog      labels:@names.txt      image      tensor      score

This module only parses. `input_plan.py` and `output_plan.py` apply the specs to a model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from modelpad.errors import UsageError
from modelpad.fields.sound import MAX_RATE, MIN_RATE
from modelpad.fields.tensor import DTYPES

INPUT_KINDS = ("image", "sketch", "audio", "tensor", "text", "number", "choice")
COLUMN_KINDS = ("number", "choice")  # of a table's columns
OUTPUT_KINDS = ("labels", "image", "tensor", "score")
INPUT_OPTIONS = {
    "image": ("scale", "mean", "std", "order", "layout", "resample", "fit", "resize", "batch"),
    "sketch": ("scale", "mean", "std", "layout", "box", "batch"),
    "audio": ("batch",),
    "tensor": ("range", "batch"),
    "text": ("max", "batch"),
    "number": ("unit", "min", "max", "whole", "nullable"),
    "choice": ("other",),
}
OUTPUT_OPTIONS = {
    "labels": ("from", "top"),
    "image": ("scale", "layout"),
    "tensor": (),
    "score": ("from",),
}
INPUT_EXAMPLE = (
    "For example: --input image:224x224x3,scale=imagenet, or --input 'tensor:float32[4]'."
)
FLAGS = ("whole", "nullable", "other")  # options without a value
COLUMN_EXAMPLE = "For example: --input age=number:unit=years,min=0, or --input port=choice:S,C,Q."
OUTPUT_EXAMPLE = "For example: --output labels:cat,dog, or --output labels:@names.txt."
NAMED = re.compile(
    r"(?P<name>[^=:,\[\]]+)=(?P<rest>(image|sketch|audio|tensor|text|number|choice|labels|score)\b.*)"
)
KIND = re.compile(r"(?P<kind>[a-z]+)(:(?P<rest>.*))?", re.DOTALL)
SIDES = re.compile(r"(\d+|\?)(x(\d+|\?)){1,2}")
TENSOR = re.compile(r"(?P<dtype>[a-z]+\d*)(\[(?P<sides>[^\]]*)\])?")


@dataclass(frozen=True, slots=True)
class InputSpec:
    """A parsed `--input`. A free side is None, and so is anything that was not given."""

    kind: str
    name: str | None = None
    sides: tuple[int | None, ...] | None = None
    dtype: str | None = None
    rate: int = 0  # of audio
    choices: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """A parsed `--output`. `classes` is empty unless the kind is `labels`."""

    kind: str
    name: str | None = None
    classes: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)


def parse_input(text: str) -> InputSpec:
    """Parses one `--input`. Raises `UsageError` with an example."""
    name, kind, rest = _split(text, INPUT_KINDS, INPUT_EXAMPLE)
    if kind in COLUMN_KINDS:
        return _parse_column(text, name, kind, rest)
    shape, options = _split_options(text, rest, INPUT_OPTIONS[kind], INPUT_EXAMPLE)
    if kind == "text" and shape:
        raise UsageError(f"{text!r}: text has no shape.", hint="Use: --input text")
    if kind == "tensor":
        dtype, sides = _read_tensor(text, shape)
        return InputSpec(kind, name, sides, dtype, options=options)
    if kind == "audio":
        return InputSpec(kind, name, rate=_read_rate(text, shape), options=options)
    if not shape:
        return InputSpec(kind, name, None, None, options=options)
    if not SIDES.fullmatch(shape):
        raise UsageError(f"{text!r}: {shape!r} is not HEIGHTxWIDTHxCHANNELS.", hint=INPUT_EXAMPLE)
    return InputSpec(
        kind, name, tuple(_read_side(side) for side in shape.split("x")), options=options
    )


def _parse_column(text: str, name: str | None, kind: str, rest: str) -> InputSpec:
    """A table's column: `number:unit=cm,min=0,whole`, or `choice:a,b,other`."""
    if name is None:
        raise UsageError(f"{text!r} does not say which column it describes.", hint=COLUMN_EXAMPLE)
    allowed, options, choices = INPUT_OPTIONS[kind], {}, []
    for word in filter(None, (each.strip() for each in rest.split(","))):
        key, equals, value = word.partition("=")
        if key in allowed and bool(equals) != (key in FLAGS):
            options[key] = value
        elif kind == "choice" and not equals:
            choices.append(word)
        else:
            raise UsageError(f"{text!r}: invalid option {word!r}.", hint=COLUMN_EXAMPLE)
    return InputSpec(kind, name, choices=tuple(choices), options=options)


def parse_output(text: str) -> OutputSpec:
    """Parses one `--output`; `@FILE` refers to a file with one class name per line.

    Raises `UsageError` with an example.
    """
    name, kind, rest = _split(text, OUTPUT_KINDS, OUTPUT_EXAMPLE)
    if kind != "labels":
        shape, options = _split_options(text, rest, OUTPUT_OPTIONS[kind], OUTPUT_EXAMPLE)
        if shape:
            raise UsageError(f"{text!r}: {kind} has no shape.", hint=OUTPUT_EXAMPLE)
        return OutputSpec(kind, name, (), options)
    words = [word.strip() for word in rest.split(",")] if rest else []
    allowed = OUTPUT_OPTIONS["labels"]
    pairs = [word for word in words if word.partition("=")[0] in allowed and "=" in word]
    options = dict(word.split("=", 1) for word in pairs)
    classes = [word for word in words if word and word not in pairs]
    if len(classes) == 1 and classes[0].startswith("@"):
        classes = _read_names(Path(classes[0][1:]))
    if len(set(classes)) != len(classes):
        raise UsageError(
            f"{text[:60]!r}: duplicate class names.", hint="Give each class a different name."
        )
    if len(classes) == 1:
        raise UsageError(f"{text!r}: at least two classes are needed.", hint=OUTPUT_EXAMPLE)
    return OutputSpec(kind, name, tuple(classes), options)


def _split(text: str, kinds: tuple[str, ...], example: str) -> tuple[str | None, str, str]:
    named = NAMED.fullmatch(text)
    name, rest = (named["name"], named["rest"]) if named else (None, text)
    found = KIND.fullmatch(rest.replace(",", ":,", 1) if ":" not in rest else rest)
    if not found or found["kind"] not in kinds:
        raise UsageError(f"{text!r}: the kind must be one of {', '.join(kinds)}.", hint=example)
    return name, found["kind"], found["rest"] or ""


def _split_options(
    text: str, rest: str, allowed: tuple[str, ...], example: str
) -> tuple[str, dict[str, str]]:
    """The shape and the options."""
    # A comma in brackets belongs to the shape: tensor:float32[2,3],range=0..9
    words = re.split(r",(?![^\[]*\])", rest)
    options: dict[str, str] = {}
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if not equals and options:  # a list such as mean=1,2,3
            options[list(options)[-1]] += "," + word
            continue
        if key not in allowed or not value:
            known = f"Known options: {', '.join(allowed)}." if allowed else "It has no options."
            raise UsageError(f"{text!r}: invalid option {word!r}. {known}", hint=example)
        options[key] = value
    return words[0], options


def _read_rate(text: str, rate: str) -> int:
    if not rate.isdigit() or not MIN_RATE <= int(rate) <= MAX_RATE:
        raise UsageError(
            f"{text!r} does not say how many samples a second the model expects.",
            hint=f"From {MIN_RATE:,} to {MAX_RATE:,}, for example: --input audio:16000",
        )
    return int(rate)


def _read_tensor(text: str, shape: str) -> tuple[str | None, tuple[int | None, ...] | None]:
    if not shape:
        return None, None
    found = TENSOR.fullmatch(shape)
    if not found:
        raise UsageError(f"{text!r}: {shape!r} is not DTYPE[SIDES].", hint=INPUT_EXAMPLE)
    if found["dtype"] not in DTYPES:
        raise UsageError(
            f"{text!r}: unknown dtype {found['dtype']!r}.", hint=f"Known: {', '.join(DTYPES)}."
        )
    if found["sides"] is None:
        return found["dtype"], None
    sides = [side.strip() for side in found["sides"].split(",") if side.strip()]
    if not all(re.fullmatch(r"\d+|\?", side) for side in sides):
        raise UsageError(
            f"{text!r}: a side must be a number, or ? if it is free.", hint=INPUT_EXAMPLE
        )
    return found["dtype"], tuple(_read_side(side) for side in sides)


def _read_side(side: str) -> int | None:
    return None if side == "?" else int(side)


def _read_names(path: Path) -> list[str]:
    try:
        names = [line.strip() for line in path.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"The class names in {path} cannot be read: {error}.",
            hint="Use a UTF-8 text file with one class name per line.",
        ) from error
    return [name for name in names if name]
