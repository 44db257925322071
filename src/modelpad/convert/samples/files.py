"""Samples in files: pictures, sounds, arrays, JSON, tables and texts."""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np

from modelpad.convert.plans import InputPlan
from modelpad.convert.samples.values import (
    MAX_SAMPLES,
    Values,
    is_one_table,
    split_table,
    write_value,
)
from modelpad.errors import InvalidInput, UsageError
from modelpad.fields import Tensor
from modelpad.fields.arrays import Arrays
from modelpad.fields.csv_table import read_samples
from modelpad.foreign_json import Json, as_list, load_json

Plans = Sequence[InputPlan]

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
SUPPORTED = "Supported: pictures, .wav, .npz, .npy, .json, .jsonl, .csv and .txt."


def load_samples(path: Path, plans: Sequence[InputPlan]) -> list[Values]:
    """The samples in a file or in a folder of files, at most 256.

    A picture is one sample. A `.npz` has an array (samples, ...) for each input, by name. `.npy`
    and `.csv` (with or without a header) are for a single tensor. `.json` is a list, and `.jsonl`
    has lines, of values or of objects by input name. `.txt` has one text per line.

    Raises:
        UsageError: there are no samples, or a file cannot be read.
    """
    if not path.exists():
        raise UsageError(f"There are no samples at {path}.", hint="Give a file or a folder.")
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    samples: list[Values] = []
    for file in files:
        if not file.name.startswith("."):
            samples += _read_file(file, plans)
        if len(samples) >= MAX_SAMPLES:
            break
    if not samples:
        raise UsageError(f"There are no samples in {path}.", hint=SUPPORTED)
    return samples[:MAX_SAMPLES]


def _read_file(file: Path, plans: Plans) -> list[Values]:
    read = READERS.get(file.suffix.lower())
    try:
        return [] if read is None else read(file, plans)
    except (ValueError, TypeError, OSError, csv.Error, InvalidInput) as error:
        raise UsageError(
            f"The samples in {file} cannot be read: {str(error).removesuffix('.')}.",
            hint=SUPPORTED,
        ) from error


def _read_picture(file: Path, plans: Plans) -> list[Values]:
    return _read_whole(file, plans, ("sketch", "image"))


def _read_sound(file: Path, plans: Plans) -> list[Values]:
    return _read_whole(file, plans, ("audio",))


def _read_whole(file: Path, plans: Plans, kinds: Sequence[str]) -> list[Values]:
    """A file that is the value of a field."""
    if len(plans) != 1 or plans[0].field.kind not in kinds:
        raise ValueError(f"{file.suffix} is for a model with a single input, {' or '.join(kinds)}")
    return [{plans[0].field.name: file.read_bytes()}]


def _read_arrays(file: Path, plans: Plans) -> list[Values]:
    arrays = _load_arrays(file, plans[0].field.name)
    if len(arrays) == 1 and is_one_table(plans):
        arrays = split_table(next(iter(arrays.values())), plans)
    elif len(arrays) == 1 and len(plans) == 1:
        arrays = {plans[0].field.name: next(iter(arrays.values()))}
    missing = [plan.field.name for plan in plans if plan.field.name not in arrays]
    if missing:
        raise ValueError(f"there is no array {missing[0]!r}")
    single = [name for name, array in arrays.items() if array.ndim == 0]
    if single:
        raise ValueError(f"the array {single[0]!r} is a single value, not one for each sample")
    count = min(MAX_SAMPLES, *(len(arrays[plan.field.name]) for plan in plans))
    return [
        {plan.field.name: write_value(arrays[plan.field.name][row], plan) for plan in plans}
        for row in range(count)
    ]


def _load_arrays(file: Path, name: str) -> Arrays:
    """The arrays of `.npz` by name, or the only one of `.npy`."""
    try:
        loaded = np.load(file, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            return {name: loaded}
        with loaded:
            return dict(loaded)
    except (EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError("the file is empty or damaged") from error


def _read_json(file: Path, plans: Plans) -> list[Values]:
    values = as_list(load_json(file.read_bytes()), "the file")
    return [_to_sample(value, plans) for value in values[:MAX_SAMPLES]]


def _read_json_lines(file: Path, plans: Plans) -> list[Values]:
    return [_to_sample(load_json(line), plans) for line in _read_lines(file)]


def _read_texts(file: Path, plans: Plans) -> list[Values]:
    return [_to_sample(line, plans) for line in _read_lines(file)]


def _read_lines(file: Path) -> Iterator[str]:
    """The first lines that are not blank. JSON may contain other line separators of Unicode."""
    with file.open(encoding="utf-8-sig") as stream:
        for line in islice(filter(str.strip, stream), MAX_SAMPLES):
            yield line.removesuffix("\n")


def _to_sample(value: Json, plans: Plans) -> Values:
    names = [plan.field.name for plan in plans]
    if isinstance(value, dict):
        return {name: value[name] for name in names if name in value}
    if len(names) != 1:
        raise ValueError(f"each sample needs an object with {', '.join(names)}")
    return {names[0]: value}


def _read_csv(file: Path, plans: Plans) -> list[Values]:
    """Rows of named columns, or rows of numbers with or without names."""
    fields = [plan.field for plan in plans]
    if len(fields) == 1 and isinstance(fields[0], Tensor):
        return [_to_sample([*row], plans) for row in _read_numbers(file)]
    with file.open(encoding="utf-8", newline="\n") as stream:
        rows = read_samples(stream, fields, MAX_SAMPLES)
    return [cast("Values", row) for row in rows]


def _read_numbers(file: Path) -> list[list[float]]:
    with file.open(newline="", encoding="utf-8-sig") as stream:
        rows = list(islice(filter(None, csv.reader(stream)), MAX_SAMPLES + 1))
    if rows and not _is_numeric(rows[0]):
        del rows[0]
    return [[float(cell) for cell in row] for row in rows[:MAX_SAMPLES]]


def _is_numeric(row: Sequence[str]) -> bool:
    try:
        return bool([float(cell) for cell in row])
    except ValueError:
        return False


READERS: dict[str, Callable[[Path, Plans], list[Values]]] = {
    **dict.fromkeys(PICTURES, _read_picture),
    ".wav": _read_sound,
    ".npz": _read_arrays,
    ".npy": _read_arrays,
    ".json": _read_json,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".csv": _read_csv,
    ".txt": _read_texts,
}
