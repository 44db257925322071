"""Samples that are made up to fit the fields, always the same ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelpad.convert.plans import InputPlan
from modelpad.convert.samples.values import Values, write_png, write_value
from modelpad.convert.source import Shape
from modelpad.errors import UsageError
from modelpad.fields import Audio, Choice, Image, Number, Sketch, Tensor, Text
from modelpad.fields.arrays import Array
from modelpad.fields.sound import write_sound
from modelpad.foreign_json import Json

GENERATED = 8
FREE_SIDE, FREE_PICTURE_SIDE = 12, 96  # of what a model leaves free
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


def generate_samples(plans: Sequence[InputPlan], count: int = GENERATED) -> list[Values]:
    """Deterministic samples that fit the fields."""
    rng = np.random.default_rng(7)
    return [
        {plan.field.name: _generate_value(plan, rng, number) for plan in plans}
        for number in range(count)
    ]


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
        return write_value(_generate_numbers(field, plan.spec.limit, rng), plan)
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
    return write_png(pixels[..., 0] if channels == 1 else pixels)


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
    return write_png(np.asarray(picture))


def _repeat(text: str, shape: Shape) -> Json:
    """A text in nested lists of a shape; a free side is 1."""
    value: Json = text
    for side in reversed(shape):
        value = [value] * (side or 1)
    return value
