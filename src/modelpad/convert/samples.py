"""Samples for the parity check and for calibration: the user's, or generated to fit the fields.

A sample has a value for each field, as in a request: an encoded picture, text, or nested lists.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from modelpad.convert.plans import InputPlan
from modelpad.convert.source import Shape
from modelpad.engine.typed import TypedInputs, batch_first, place_batch
from modelpad.errors import InvalidInput, ModelpadError, UsageError
from modelpad.fields import Audio, Choice, Image, Number, Sketch, Tensor, Text
from modelpad.fields.arrays import Array, Arrays
from modelpad.fields.csv_table import read_samples
from modelpad.fields.sound import write_sound
from modelpad.fields.tokenizer import ReadFile
from modelpad.foreign_json import Json, as_list, load_json

Values: TypeAlias = "dict[str, bytes | Json]"

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
MAX_SAMPLES = 256
GENERATED = 8
FREE_SIDE, FREE_PICTURE_SIDE = 12, 96  # of generated samples
TEXTS = (
    "a good film with great actors",
    "the plot was thin and the end too long",
    "I would see it again tomorrow",
    "not worth the money",
    "what a wonderful evening it was",
    "boring from the first minute to the last",
    "it rained all day in the city",
    "the price is higher than last year",
)
SOUNDS = (".wav",)
SUPPORTED = "Supported: pictures, .wav, .npz, .npy, .json, .jsonl, .csv and .txt."


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
        values = _split_table(values, plans) if is_one_table(plans) else {names[0]: values}
    columns = _as_columns({name: values[name] for name in values if name in names} or values)
    if set(columns) != set(names):
        raise UsageError(
            f"samples has {', '.join(columns)}; the inputs are {', '.join(names)}.",
            hint="Use {input: values}, with values for every input.",
        )
    kinds = {plan.field.name: plan.field.kind for plan in plans}
    counts = {len(column) for column in columns.values()}
    if len(counts) != 1 or counts == {0}:
        raise UsageError(
            "samples must have the same number of values for each input.",
            hint="Give at least one value for each input.",
        )
    rows = range(min(MAX_SAMPLES, *counts))
    return [{name: _wrap_value(columns[name][row], kinds[name]) for name in names} for row in rows]


def _as_columns(values: dict[str, object]) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    for name, column in values.items():
        if not isinstance(column, Column):
            raise UsageError(
                f"The samples for {name} are not a sequence.", hint="Use a list or an array."
            )
        columns[name] = column
    return columns


def _wrap_value(value: object, kind: str) -> bytes | Json:
    if kind in ("image", "sketch", "audio") and isinstance(value, str | Path):
        return Path(value).read_bytes()
    if kind in ("image", "sketch"):
        if isinstance(value, Picture):
            file = io.BytesIO()
            value.save(file, "PNG")
            return file.getvalue()
        pixels = np.asarray(value)
        if pixels.dtype == np.uint8:
            return _write_png(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    if isinstance(value, str | bytes):
        return value
    if kind in ("number", "choice"):
        return _plain(value)
    return _to_lists(value)


def _plain(value: object) -> Json:
    """A number or a text of any array type; None for NaN."""
    plain: Json = np.asarray(value).reshape(-1).tolist()[0]
    return None if isinstance(plain, float) and plain != plain else plain


def is_one_table(plans: Sequence[InputPlan]) -> bool:
    """Whether all fields are columns of one tensor."""
    return len({plan.spec.name for plan in plans}) == 1 and plans[0].column is not None


def _split_table(values: object, plans: Sequence[InputPlan]) -> dict[str, object]:
    """The columns of an array (samples, columns). Raises `UsageError`."""
    table = np.asarray(values)
    if table.ndim != 2 or table.shape[1] != len(plans):
        raise UsageError(
            f"samples has shape {list(table.shape)}; the model has {len(plans)} columns.",
            hint="Give an array (samples, columns), or {column: values}.",
        )
    return {plan.field.name: table[:, plan.column or 0] for plan in plans}


def generate_samples(plans: Sequence[InputPlan], count: int = GENERATED) -> list[Values]:
    """Deterministic samples that fit the fields."""
    rng = np.random.default_rng(7)
    return [
        {plan.field.name: _generate_value(plan, rng, number) for plan in plans}
        for number in range(count)
    ]


def decode_samples(
    samples: Sequence[Values], plans: Sequence[InputPlan], read: ReadFile | None = None
) -> list[Arrays]:
    """Each sample as the model's raw inputs, by tensor name and without a batch axis.

    `read` reads a tokenizer's file.

    Raises:
        UsageError: a sample does not fit. The message names it and gives the reason.
    """
    typed = TypedInputs([plan.field for plan in plans], [plan.binding for plan in plans], read)
    axes = typed.axes
    decoded = []
    for number, sample in enumerate(samples):
        try:
            batch = typed.decode(sample)
        except ModelpadError as error:
            raise UsageError(
                f"Sample {number + 1} does not fit: {error.message}", hint=error.hint
            ) from error
        decoded.append(
            {
                name: array
                if axes[name] is None
                else place_batch(batch_first(array, axes[name]), None)
                for name, array in batch.items()
            }
        )
    return decoded


def _read_file(file: Path, plans: Sequence[InputPlan]) -> list[Values]:
    suffix = file.suffix.lower()
    try:
        if suffix in PICTURES + SOUNDS:
            kinds = ("audio",) if suffix in SOUNDS else ("sketch", "image")
            if len(plans) != 1 or plans[0].field.kind not in kinds:
                raise ValueError(
                    f"{suffix} is for a model with a single input, {' or '.join(kinds)}"
                )
            return [{plans[0].field.name: file.read_bytes()}]
        if suffix in (".npz", ".npy"):
            loaded = np.load(file, allow_pickle=False)
            arrays = dict(loaded) if suffix == ".npz" else {plans[0].field.name: loaded}
            return _split_arrays(arrays, plans)
        if suffix == ".json":
            values = as_list(load_json(file.read_bytes()), "the file")
            return [_to_sample(value, plans) for value in values]
        if suffix in (".jsonl", ".ndjson"):
            lines = file.read_text("utf-8").splitlines()
            return [_to_sample(load_json(line), plans) for line in lines if line.strip()]
        if suffix == ".txt":
            lines = file.read_text("utf-8").splitlines()
            return [_to_sample(line, plans) for line in lines if line.strip()]
        if suffix == ".csv":
            return _read_csv(file, plans)
    except (ValueError, OSError, TypeError, InvalidInput) as error:
        raise UsageError(
            f"The samples in {file} cannot be read: {error}.", hint=SUPPORTED
        ) from error
    return []


def _read_csv(file: Path, plans: Sequence[InputPlan]) -> list[Values]:
    """Rows of named columns, or rows of numbers without names."""
    fields = [plan.field for plan in plans]
    if len(fields) == 1 and isinstance(fields[0], Tensor):
        return [_to_sample([*row], plans) for row in _read_rows(file)]
    with file.open(encoding="utf-8", newline="\n") as stream:
        rows = read_samples(stream, fields, MAX_SAMPLES)
    return [cast("Values", row) for row in rows]


def _split_arrays(arrays: Arrays, plans: Sequence[InputPlan]) -> list[Values]:
    names = [plan.field.name for plan in plans]
    if len(arrays) == 1 and is_one_table(plans):
        split = _split_table(next(iter(arrays.values())), plans)
        arrays = {name: np.asarray(column) for name, column in split.items()}
    if len(names) == 1 and len(arrays) == 1:
        arrays = {names[0]: next(iter(arrays.values()))}
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ValueError(f"there is no array {missing[0]!r}")
    count = min(MAX_SAMPLES, *(len(arrays[name]) for name in names))
    kinds = {plan.field.name: plan.field.kind for plan in plans}
    return [
        {
            name: _plain(arrays[name][row])
            if kinds[name] in ("number", "choice")
            else _to_lists(arrays[name][row])
            for name in names
        }
        for row in range(count)
    ]


def _to_sample(value: Json, plans: Sequence[InputPlan]) -> Values:
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
    return [[float(cell) for cell in row] for row in rows[:MAX_SAMPLES]]


def _to_lists(value: object) -> Json:
    """An array, or anything that NumPy converts to one, as nested lists."""
    lists: Json = np.asarray(value).tolist()
    return lists


def _generate_value(plan: InputPlan, rng: np.random.Generator, number: int) -> bytes | Json:
    field = plan.field
    if isinstance(field, Text):
        return TEXTS[number % len(TEXTS)]
    if isinstance(field, Sketch):
        return _draw_sketch(rng)
    if isinstance(field, Audio):
        return _play_tones(rng, field)
    if isinstance(field, Image):
        side = FREE_PICTURE_SIDE
        return _draw_clouds(rng, field.height or side, field.width or side, field.channels)
    if isinstance(field, Number):
        return int(rng.integers(0, 10)) if field.whole else round(float(rng.normal(0, 2)), 4)
    if isinstance(field, Choice):
        return field.choices[number % len(field.choices)]
    if isinstance(field, Tensor) and field.dtype == "string":
        return _repeat(TEXTS[number % len(TEXTS)], field.shape)
    if isinstance(field, Tensor):
        return _to_lists(_generate_numbers(field, plan.spec.limit, rng))
    raise UsageError(
        f"No samples can be generated for a {field.kind} input.", hint="Give some: --samples PATH"
    )


def _generate_numbers(field: Tensor, limit: int | None, rng: np.random.Generator) -> Array:
    """Random numbers. Names such as `attention_mask` and `token_type_ids` restrict the range."""
    shape = tuple(FREE_SIDE if side is None else side for side in field.shape)
    kind = np.dtype(field.dtype).kind
    if kind in "iu":
        if "mask" in field.name:
            return np.ones(shape, field.dtype)
        high = limit or (2 if "type" in field.name else 10)
        return rng.integers(0, min(high, int(np.iinfo(np.dtype(field.dtype)).max)), shape)
    if kind == "b":
        return rng.integers(0, 2, shape).astype(np.bool_)
    numbers: Array = np.round(rng.normal(0, 1, shape), 4)
    return numbers


def _draw_clouds(rng: np.random.Generator, height: int, width: int, channels: int) -> bytes:
    """A PNG of soft coloured clouds: unlike noise, they have the structure of natural images."""
    from PIL import Image as Pillow

    planes = []
    for _ in range(channels):
        plane = np.zeros((height, width))
        for cells in (2, 5, 11):
            coarse = Pillow.fromarray(rng.normal(0, 1, (cells, cells)).astype(np.float32))
            plane += np.asarray(coarse.resize((width, height), Pillow.Resampling.BICUBIC)) / cells
        planes.append(255 / (1 + np.exp(-3 * plane)))
    pixels = np.rint(np.stack(planes, axis=-1)).astype(np.uint8)
    return _write_png(pixels[..., 0] if channels == 1 else pixels)


def _play_tones(rng: np.random.Generator, field: Audio) -> bytes:
    """A WAV file of a few fading tones: unlike noise, they have the structure of speech."""
    count = field.length or field.rate
    times = np.arange(count) / field.rate
    tones = np.zeros(count)
    for pitch in rng.uniform(100, field.rate / 4, 3):
        begin = rng.uniform(0, times[-1] / 2)
        tones += np.sin(2 * np.pi * pitch * times) * np.exp(-4 * np.abs(times - begin)) / 4
    return write_sound(tones, field.rate)


def _draw_sketch(rng: np.random.Generator) -> bytes:
    """A PNG of two curved strokes, white on black."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    picture = Pillow.new("L", (112, 112))
    draw = ImageDraw.Draw(picture)
    for _ in range(2):
        points = [tuple(point) for point in rng.uniform(16, 96, (3, 2)).tolist()]
        draw.line(points, fill=255, width=9, joint="curve")
    return _write_png(np.asarray(picture))


def _write_png(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image as Pillow

    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _repeat(text: str, shape: Shape) -> Json:
    """A text in nested lists of a shape; a free side is 1."""
    value: Json = text
    for side in reversed(shape):
        value = [value] * (side or 1)
    return value
