"""Samples to compare and to calibrate with: the user's own, or made up to fit the fields.

A sample is a value for each field as it would arrive: a picture's bytes, text, nested lists.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelpad.convert.input_plan import InputPlan
from modelpad.errors import UsageError
from modelpad.foreign_json import load_json

Values = dict[str, Any]

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
MOST = 256
MADE_UP = 8
FREE_SIDE, FREE_PICTURE_SIDE = 12, 96
WORDS = (
    "a good film with great actors",
    "the plot was thin and the end too long",
    "I would see it again tomorrow",
    "not worth the money",
    "what a wonderful evening it was",
    "boring from the first minute to the last",
    "it rained all day in the city",
    "the price is higher than last year",
)
FORMS = "Pictures, .npz, .npy, .json, .jsonl, .csv or .txt."


def load_samples(path: Path, plans: Sequence[InputPlan]) -> list[Values]:
    """The samples in a file or a folder of files, at most 256.

    Pictures are one sample each; a `.npz` has an array (samples, ...) for each input, by name;
    `.npy` and `.csv` (with a header or without) are for one tensor; `.json` is a list and `.jsonl`
    lines of values, or of objects by input name; `.txt` has a text a line.

    Raises:
        UsageError: there is none, or one cannot be read.
    """
    if not path.exists():
        raise UsageError(f"There are no samples at {path}.", hint="Give a file or a folder.")
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    samples: list[Values] = []
    for file in files:
        if not file.name.startswith("."):
            samples += _read_file(file, plans)
        if len(samples) >= MOST:
            break
    if not samples:
        raise UsageError(f"There are no samples in {path}.", hint=FORMS)
    return samples[:MOST]


def wrap_samples(values: Any, plans: Sequence[InputPlan]) -> list[Values]:
    """Samples that a program holds, at most 256: `values` has one each, or `{input: values}`.

    Pictures are arrays (H, W, C) 0..255, Pillow images, paths or bytes; tensors are arrays.

    Raises:
        UsageError: there is none, or the inputs' counts differ.
    """
    names = [plan.field.name for plan in plans]
    columns = dict(values) if isinstance(values, dict) else {names[0]: values}
    if set(columns) != set(names):
        raise UsageError(
            f"samples has {', '.join(columns)}; the inputs are {', '.join(names)}.",
            hint="Give {input: values} with values for every input.",
        )
    kinds = {plan.field.name: plan.field.kind for plan in plans}
    counts = {len(column) for column in columns.values()}
    if len(counts) != 1 or counts == {0}:
        raise UsageError("samples must have as many values for each input, and at least one.")
    rows = range(min(MOST, *counts, MOST))
    return [{name: _wrap_value(columns[name][row], kinds[name]) for name in names} for row in rows]


def _wrap_value(value: Any, kind: str) -> Any:
    if kind in ("image", "sketch"):
        if isinstance(value, str | Path):
            return Path(value).read_bytes()
        if hasattr(value, "save"):
            file = io.BytesIO()
            value.save(file, "PNG")
            return file.getvalue()
        pixels = np.asarray(value)
        if pixels.dtype == np.uint8:
            return _write_png(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    if isinstance(value, str | bytes):
        return value
    return np.asarray(value).tolist()


def make_samples(plans: Sequence[InputPlan], count: int = MADE_UP) -> list[Values]:
    """Made-up samples that fit the fields, always the same ones."""
    rng = np.random.default_rng(7)
    return [
        {plan.field.name: _make_value(plan, rng, number) for plan in plans}
        for number in range(count)
    ]


def decode_samples(samples: Sequence[Values], plans: Sequence[InputPlan]) -> list[Values]:
    """Each sample's values as its fields decode them, without a batch axis.

    Raises:
        UsageError: one does not fit; the message says which and why.
    """
    from modelpad.errors import ModelpadError

    decoded = []
    for number, sample in enumerate(samples):
        try:
            decoded.append({p.field.name: p.field.decode(sample[p.field.name]) for p in plans})
        except ModelpadError as error:
            raise UsageError(
                f"Sample {number + 1} does not fit: {error.message}", hint=error.hint
            ) from error
        except KeyError as error:
            raise UsageError(
                f"Sample {number + 1} lacks the input {error}.",
                hint=f"Inputs: {', '.join(plan.field.name for plan in plans)}.",
            ) from error
    return decoded


def stack_samples(samples: Sequence[Values]) -> dict[str, NDArray[Any]]:
    """Decoded samples as one batch."""
    return {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}


def _read_file(file: Path, plans: Sequence[InputPlan]) -> list[Values]:
    suffix = file.suffix.lower()
    try:
        if suffix in PICTURES:
            pictures = [p for p in plans if p.field.kind in ("sketch", "image")]
            if len(pictures) != 1 or len(plans) != 1:
                raise ValueError("pictures alone are samples only for a model of one picture")
            return [{pictures[0].field.name: file.read_bytes()}]
        if suffix in (".npz", ".npy"):
            loaded = np.load(file, allow_pickle=False)
            arrays = dict(loaded) if suffix == ".npz" else {plans[0].field.name: loaded}
            return _split_arrays(arrays, plans)
        if suffix == ".json":
            return [_name_value(value, plans) for value in load_json(file.read_bytes())]
        if suffix in (".jsonl", ".ndjson"):
            lines = file.read_text("utf-8").splitlines()
            return [_name_value(load_json(line), plans) for line in lines if line.strip()]
        if suffix == ".txt":
            lines = file.read_text("utf-8").splitlines()
            return [_name_value(line, plans) for line in lines if line.strip()]
        if suffix == ".csv":
            return [_name_value(row, plans) for row in _read_rows(file)]
    except (ValueError, OSError, TypeError) as error:
        raise UsageError(f"The samples in {file} cannot be read: {error}.", hint=FORMS) from error
    return []


def _split_arrays(arrays: dict[str, Any], plans: Sequence[InputPlan]) -> list[Values]:
    names = [plan.field.name for plan in plans]
    if len(names) == 1 and len(arrays) == 1:
        arrays = {names[0]: next(iter(arrays.values()))}
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ValueError(f"there is no array {missing[0]!r}")
    count = min(len(arrays[name]) for name in names)
    return [{name: arrays[name][row].tolist() for name in names} for row in range(min(count, MOST))]


def _name_value(value: Any, plans: Sequence[InputPlan]) -> Values:
    names = [plan.field.name for plan in plans]
    if isinstance(value, dict):
        return {name: value[name] for name in names if name in value}
    if len(names) != 1:
        raise ValueError(f"each sample needs an object with {', '.join(names)}")
    return {names[0]: value}


def _read_rows(file: Path) -> list[list[float]]:
    with file.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.reader(stream) if row]
    try:
        [float(cell) for cell in rows[0]]
    except (ValueError, IndexError):
        rows = rows[1:]
    return [[float(cell) for cell in row] for row in rows[:MOST]]


def _make_value(plan: InputPlan, rng: np.random.Generator, number: int) -> Any:
    field = plan.field
    record = field.to_dict()
    if field.kind == "text":
        return WORDS[number % len(WORDS)]
    if field.kind == "sketch":
        return _make_sketch(rng)
    if field.kind == "image":
        side = FREE_PICTURE_SIDE
        return _make_picture(
            rng, record["height"] or side, record["width"] or side, record["channels"]
        )
    shape = tuple(FREE_SIDE if side is None else side for side in record["shape"])
    dtype = np.dtype(record["dtype"])
    if dtype.kind in "iu":
        if "mask" in field.name:
            return np.ones(shape, dtype).tolist()
        high = plan.spec.limit or 2 if "type" in field.name else plan.spec.limit or 10
        return rng.integers(0, min(high, int(np.iinfo(dtype).max)), shape).tolist()
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool).tolist()
    return np.round(rng.normal(0, 1, shape), 4).tolist()


def _make_picture(rng: np.random.Generator, height: int, width: int, channels: int) -> bytes:
    """A PNG of soft coloured clouds: unlike noise, it has what convolutions look for."""
    from PIL import Image

    planes = []
    for _ in range(channels):
        plane = np.zeros((height, width))
        for cells in (2, 5, 11):
            coarse = Image.fromarray(rng.normal(0, 1, (cells, cells)).astype(np.float32))
            plane += np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)) / cells
        planes.append(255 / (1 + np.exp(-3 * plane)))
    pixels = np.rint(np.stack(planes, axis=-1)).astype(np.uint8)
    return _write_png(pixels[..., 0] if channels == 1 else pixels)


def _make_sketch(rng: np.random.Generator) -> bytes:
    """A PNG of two round strokes, white on black."""
    from PIL import Image, ImageDraw

    picture = Image.new("L", (112, 112))
    draw = ImageDraw.Draw(picture)
    for _ in range(2):
        points = [tuple(point) for point in rng.uniform(16, 96, (3, 2)).tolist()]
        draw.line(points, fill=255, width=9, joint="curve")
    return _write_png(np.asarray(picture))


def _write_png(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
