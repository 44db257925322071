"""Samples that a program gives: arrays, data frames, Pillow images, paths and bytes of files."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from modelpad.convert.plans import InputPlan
from modelpad.convert.samples.values import (
    MAX_SAMPLES,
    Values,
    is_one_table,
    split_table,
    write_png,
    write_value,
)
from modelpad.errors import UsageError
from modelpad.foreign_json import Json

PICTURES = ("image", "sketch")  # kinds of fields
COLOURS = (2, 3, 4)  # channels: grey or colour, with or without transparency


@runtime_checkable
class Column(Protocol):
    """A list, an array, or any other sequence: one value for each sample."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> object: ...


@runtime_checkable
class Frame(Protocol):
    """A pandas DataFrame."""

    columns: Iterable[object]
    iloc: object

    def __getitem__(self, name: object, /) -> Column: ...


@runtime_checkable
class Picture(Protocol):
    """A Pillow image."""

    def save(self, fp: io.BytesIO, format: str) -> None:
        """Writes the image."""


def wrap_samples(values: object, plans: Sequence[InputPlan]) -> list[Values]:
    """A program's samples, at most 256: `values` is a sequence, or `{input: sequence}`.

    Pictures are arrays (H, W, C) 0..255, Pillow images, paths or bytes, sounds arrays, paths or
    bytes of WAV files. Tensors are arrays.

    Raises:
        UsageError: there are no samples, or the inputs have different numbers of values.
    """
    names = [plan.field.name for plan in plans]
    if isinstance(values, Frame):
        values = {str(name): values[name] for name in values.columns}
    if not isinstance(values, dict):
        values = split_table(values, plans) if is_one_table(plans) else {names[0]: values}
    columns = _as_columns({name: values[name] for name in values if name in names} or values)
    if set(columns) != set(names):
        raise UsageError(
            f"samples has {', '.join(columns)}; the inputs are {', '.join(names)}.",
            hint="Use {input: values}, with values for every input.",
        )
    counts = {len(column) for column in columns.values()}
    if len(counts) != 1 or counts == {0}:
        raise UsageError(
            "samples must have the same number of values for each input.",
            hint="Give at least one value for each input.",
        )
    return [
        {plan.field.name: _wrap_value(columns[plan.field.name][row], plan) for plan in plans}
        for row in range(min(MAX_SAMPLES, *counts))
    ]


def _as_columns(values: Mapping[str, object]) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    for name, column in values.items():
        if not isinstance(column, Column):
            raise UsageError(
                f"The samples for {name} are not a sequence.", hint="Use a list or an array."
            )
        # A Series takes the labels of its index, not positions.
        columns[name] = np.asarray(column) if hasattr(column, "iloc") else column
    return columns


def _wrap_value(value: object, plan: InputPlan) -> bytes | Json:
    kind = plan.field.kind
    if kind in (*PICTURES, "audio") and isinstance(value, str | Path):
        return _read_file(Path(value))
    if kind in PICTURES and isinstance(value, Picture):
        file = io.BytesIO()
        value.save(file, "PNG")
        return file.getvalue()
    if isinstance(value, str | bytes):
        return value
    if kind in PICTURES:
        pixels = np.asarray(value)
        if pixels.dtype == np.uint8:
            return _write_picture(pixels)
    return write_value(value, plan)


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"The sample {path} cannot be read: {error.strerror}.", hint="Give the path of a file."
        ) from error


def _write_picture(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG of (H, W) or (H, W, channels). Raises `UsageError` for another shape."""
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim != 2 and not (pixels.ndim == 3 and pixels.shape[-1] in COLOURS):
        raise UsageError(
            f"A picture in samples has shape {list(pixels.shape)}.",
            hint="Give (height, width) or (height, width, channels), with 1 to 4 channels.",
        )
    return write_png(pixels)
