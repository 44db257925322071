"""The words of `--input` and `--output`: `[NAME=]KIND[:SHAPE][,KEY=VALUE...]`.

    image:224x224x3,scale=imagenet      sketch:28x28      tensor:float32[4]      text
    labels:cat,dog      labels:@names.txt      image      tensor      score

Reads words only; what they mean for a model is `signature.py`'s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from modelpad.errors import UsageError

INPUT_KINDS = ("image", "sketch", "tensor", "text")
OUTPUT_KINDS = ("labels", "image", "tensor", "score")
INPUT_OPTIONS = {
    "image": ("scale", "mean", "std", "order", "layout"),
    "sketch": ("scale", "mean", "std", "layout", "box"),
    "tensor": ("range",),
    "text": ("max",),
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
OUTPUT_EXAMPLE = "For example: --output labels:cat,dog, or --output labels:@names.txt."
NAMED = re.compile(r"(?P<name>[^=:,\[\]]+)=(?P<rest>(image|sketch|tensor|text|labels|score)\b.*)")
KIND = re.compile(r"(?P<kind>[a-z]+)(:(?P<rest>.*))?", re.DOTALL)
SIDES = re.compile(r"(\d+|\?)(x(\d+|\?)){1,2}")
TENSOR = re.compile(r"(?P<dtype>[a-z]+\d*)(\[(?P<sides>[^\]]*)\])?")


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One `--input`: its kind, sides (None where free or not said), dtype and options."""

    kind: str
    name: str | None = None
    sides: tuple[int | None, ...] | None = None
    dtype: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OutputWords:
    """One `--output`: its kind, the classes of labels, and options."""

    kind: str
    name: str | None = None
    classes: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)


def parse_input(text: str) -> InputSpec:
    """Reads one `--input`. Raises `UsageError` that says what is wrong and shows an example."""
    name, kind, rest = _split(text, INPUT_KINDS, INPUT_EXAMPLE)
    shape, options = _take_options(text, rest, INPUT_OPTIONS[kind], INPUT_EXAMPLE)
    if kind == "text" and shape:
        raise UsageError(f"{text!r}: text has no shape.", hint="Write: --input text")
    if kind == "tensor":
        dtype, sides = _read_tensor(text, shape)
        return InputSpec(kind, name, sides, dtype, options)
    if not shape:
        return InputSpec(kind, name, None, None, options)
    if not SIDES.fullmatch(shape):
        raise UsageError(f"{text!r}: {shape!r} is not HEIGHTxWIDTHxCHANNELS.", hint=INPUT_EXAMPLE)
    return InputSpec(
        kind, name, tuple(_read_side(side) for side in shape.split("x")), None, options
    )


def parse_output(text: str) -> OutputWords:
    """Reads one `--output`; `@FILE` names a file with a class a line. Raises `UsageError`."""
    name, kind, rest = _split(text, OUTPUT_KINDS, OUTPUT_EXAMPLE)
    if kind != "labels":
        shape, options = _take_options(text, rest, OUTPUT_OPTIONS[kind], OUTPUT_EXAMPLE)
        if shape:
            raise UsageError(f"{text!r}: {kind} takes no {shape!r}.", hint=OUTPUT_EXAMPLE)
        return OutputWords(kind, name, (), options)
    words = [word.strip() for word in rest.split(",")] if rest else []
    known = OUTPUT_OPTIONS["labels"]
    pairs = [word for word in words if word.partition("=")[0] in known and "=" in word]
    options = dict(word.split("=", 1) for word in pairs)
    classes = [word for word in words if word and word not in pairs]
    if len(classes) == 1 and classes[0].startswith("@"):
        classes = _read_names(Path(classes[0][1:]))
    if len(set(classes)) != len(classes):
        raise UsageError(
            f"{text[:60]!r}: class names repeat.", hint="Give each class its own name."
        )
    if len(classes) == 1:
        raise UsageError(f"{text!r}: one class is no choice.", hint=OUTPUT_EXAMPLE)
    return OutputWords(kind, name, tuple(classes), options)


def _split(text: str, kinds: tuple[str, ...], example: str) -> tuple[str | None, str, str]:
    named = NAMED.fullmatch(text)
    name, rest = (named["name"], named["rest"]) if named else (None, text)
    found = KIND.fullmatch(rest.replace(",", ":,", 1) if ":" not in rest else rest)
    if not found or found["kind"] not in kinds:
        raise UsageError(f"{text!r}: the kind is one of {', '.join(kinds)}.", hint=example)
    return name, found["kind"], found["rest"] or ""


def _take_options(
    text: str, rest: str, known: tuple[str, ...], example: str
) -> tuple[str, dict[str, str]]:
    # A comma within brackets belongs to the shape: tensor:float32[2,3],range=0..9
    words = re.split(r",(?![^\[]*\])", rest)
    options: dict[str, str] = {}
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if not equals and options:  # mean=1,2,3 goes on
            options[list(options)[-1]] += "," + word
            continue
        if key not in known or not value:
            told = f"it may have {', '.join(known)}" if known else "it takes no options"
            raise UsageError(f"{text!r}: {word!r} makes no sense; {told}.", hint=example)
        options[key] = value
    return words[0], options


def _read_tensor(text: str, shape: str) -> tuple[str | None, tuple[int | None, ...] | None]:
    if not shape:
        return None, None
    found = TENSOR.fullmatch(shape)
    if not found:
        raise UsageError(f"{text!r}: {shape!r} is not DTYPE[SIDES].", hint=INPUT_EXAMPLE)
    from modelpad.fields.tensor import DTYPES

    if found["dtype"] not in DTYPES:
        raise UsageError(
            f"{text!r}: there is no dtype {found['dtype']!r}.",
            hint=f"There is: {', '.join(DTYPES)}.",
        )
    if found["sides"] is None:
        return found["dtype"], None
    sides = [side.strip() for side in found["sides"].split(",") if side.strip()]
    if not all(re.fullmatch(r"\d+|\?", side) for side in sides):
        raise UsageError(f"{text!r}: sides are numbers, or ? where free.", hint=INPUT_EXAMPLE)
    return found["dtype"], tuple(_read_side(side) for side in sides)


def _read_side(side: str) -> int | None:
    return None if side == "?" else int(side)


def _read_names(path: Path) -> list[str]:
    try:
        names = [line.strip() for line in path.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"The class names in {path} cannot be read: {error}.",
            hint="Give a text file with a class a line.",
        ) from error
    return [name for name in names if name]
