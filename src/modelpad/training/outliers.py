"""Drawings of anything but digits, to learn from what a digit does not look like.

Training with examples of other things tells unknown things from known ones better than known ones
alone do (Hendrycks et al., 2019, "Deep anomaly detection with outlier exposure"). There are
characters and symbols of a typeface, aimless lines, blots, textures, digits turned on their side
or mirrored, and two digits at once.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from modelpad.datasets import Split, draw_strokes
from modelpad.errors import EmptyCanvas
from modelpad.fields.preparation import prepare_sketch

Random = np.random.Generator
Sketches = NDArray[np.uint8]
Make = Callable[[Split, Random], Sketches]

PAD = 112  # pixels: four times a sketch, as drawings are reduced to it anyway
MARGIN = 16
# The categories of characters: letters and symbols, but no numbers.
CATEGORIES = ("Lu", "Ll", "Lo", "Sm", "So", "Sc", "Po")
BLOCKS = ((0x21, 0x24F), (0x370, 0x587), (0x2190, 0x22FF), (0x25A0, 0x27C0))
# Characters that can be read as digits, and marks too plain to be told from one.
DIGIT_LIKE = frozenset(
    "OoQDIlijJ|!SsZzBbgqyGcCfTtrLZƷȜʒƧƨƼƽƐƖƪƵƶɑȊ"
    "ΟοθΘΙιΦφςσδβρζεξτΓ"
    "ОоЗзЭэбБЧчІіЅѕВвЬьЪъЫыҐгГѲѳфФѵҁҘҙӠӡԐԑԚԛ"
    "ԽԾՕօՏՑցգզջՅյլւՂղՁձ"
    "∂∫∬∣∥∕∖∘∙∅⊘⊙⊚⊛⊝∮∯∰∱∲∳∶∷∼∽∾∿≀│"
    ".,:;'\"·¡/\\-*°¸"
    "○◌◍◎●◦◯⚪⚫⚬☉•❍❏❘❙❚❛❜❝❞❡➰➿"
)
# Digits that become none when they are turned by a right angle, or mirrored.
TURNED, MIRRORED = (3, 4, 7), (3, 4, 9)


def draw_outliers(digits: Split, count: int, seed: int) -> Sketches:
    """Sketches of no digit: uint8 (count, 28, 28). Some are made from `digits`, which are sketches.

    A smaller number of drawings is a prefix of a larger one.
    """
    rng = np.random.default_rng([seed, 6])
    makers, shares = [*KINDS], np.array([*KINDS.values()])
    found: list[Sketches] = []
    while len(found) < count:
        make = makers[int(rng.choice(len(makers), p=shares / shares.sum()))]
        try:
            found.append(make(digits, rng))
        except EmptyCanvas:
            continue
    return np.stack(found)


def draw_character(digits: Split, rng: Random) -> Sketches:
    """A letter or symbol: solid, or its outline as a pen would draw it."""
    font, characters = load_typeface()
    sheet = Image.new("L", (2 * PAD, 2 * PAD), 255)
    stroke = int(rng.integers(2, 9)) if rng.random() < 0.4 else 0
    ImageDraw.Draw(sheet).text(
        (PAD, PAD),
        str(rng.choice(characters)),
        font=font,
        anchor="mm",
        fill=255 if stroke else 0,
        stroke_width=stroke,
        stroke_fill=0,
    )
    bent = sheet.transform(sheet.size, Image.Transform.AFFINE, distort(rng), fillcolor=255)
    if not stroke and rng.random() < 0.5:
        filters = (ImageFilter.MinFilter(3), ImageFilter.MinFilter(5), ImageFilter.MaxFilter(3))
        bent = bent.filter(filters[int(rng.integers(3))])
    return prepare_sketch(bent)


def draw_lines(digits: Split, rng: Random) -> Sketches:
    """Two to five straight or curved lines, or one that wanders."""
    if rng.random() < 0.4:
        steps = rng.normal(0, 1, (int(rng.integers(7, 25)), 2))
        return draw(bend([np.cumsum(steps, axis=0)]), rng)
    lines = [
        rng.uniform(0, 1, 2) + rng.normal(0, 0.4, (int(rng.integers(2, 5)), 2))
        for _ in range(int(rng.integers(2, 6)))
    ]
    return draw(bend(lines) if rng.random() < 0.5 else lines, rng)


def draw_polygon(digits: Split, rng: Random) -> Sketches:
    """A closed figure with corners, and perhaps a line or a smaller figure in it."""
    corners = int(rng.integers(3, 8))
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1) * rng.uniform(0.4, 1, (corners, 1))
    ring = np.concatenate([ring, ring[:1]])
    more = [
        ring * 0.4 + rng.normal(0, 0.2, 2),
        rng.normal(0, 0.5, (2, 2)),
        rng.normal(0, 1, (3, 2)),
    ]
    chosen = [part for part in more if rng.random() < 0.4]
    return draw([ring, *chosen], rng)


def draw_blot(digits: Split, rng: Random) -> Sketches:
    """A filled round or ragged spot, or a few of them."""
    sheet = Image.new("L", (PAD, PAD), 255)
    pen = ImageDraw.Draw(sheet)
    for _ in range(1 + int(rng.random() < 0.3) * int(rng.integers(1, 5))):
        angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        ragged = rng.uniform(0, 0.25) * np.sin(angles * rng.integers(2, 6) + rng.uniform(0, 7))
        radius = rng.uniform(6, 20) * (1 + ragged)
        stretch = np.array([1, float(np.exp(rng.normal(0, 0.25)))])
        around = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius[:, None] * stretch
        place = around + rng.uniform(35, PAD - 35, 2)
        pen.polygon([(float(x), float(y)) for x, y in place], fill=0)
    return prepare_sketch(sheet)


def draw_texture(digits: Split, rng: Random) -> Sketches:
    """Random squares of several sizes and levels, as of a sketch that is not centred."""
    side = int(rng.integers(3, 29))
    levels = rng.uniform(0, 1, (side, side)) ** rng.uniform(0.5, 3)
    if rng.random() < 0.5:
        levels = (levels > rng.uniform(0.3, 0.8)).astype(np.float64)
    size = int(rng.integers(14, 29))
    resample = (Image.Resampling.NEAREST, Image.Resampling.BILINEAR)[int(rng.integers(2))]
    small = Image.fromarray((levels * 255).astype(np.uint8)).resize((size, size), resample)
    sheet = Image.new("L", (28, 28), 0)
    sheet.paste(small, ((28 - size) // 2, (28 - size) // 2))
    if not np.asarray(sheet).any():
        return draw_texture(digits, rng)
    return np.array(sheet, dtype=np.uint8)


def turn_digit(digits: Split, rng: Random) -> Sketches:
    """A digit on its side, or mirrored, of those that then are none."""
    if rng.random() < 0.7:
        side = np.rot90(pick(digits, TURNED, rng), int(rng.choice([1, 3])))
        return np.ascontiguousarray(side)
    return np.ascontiguousarray(pick(digits, MIRRORED, rng)[:, ::-1])


def join_digits(digits: Split, rng: Random) -> Sketches:
    """Two or three digits side by side, or one on top of another."""
    sheet = np.zeros((2 * 28, 4 * 28), dtype=np.uint8)
    down, right = 10, 8
    for _ in range(int(rng.integers(2, 4))):
        digit = pick(digits, range(10), rng)
        part = sheet[down : down + 28, right : right + 28]
        np.maximum(part, digit, out=part)
        right += int(rng.integers(4, 24))
        down = int(np.clip(down + rng.integers(-8, 9), 0, 28))
    return prepare_sketch(Image.fromarray(sheet))


KINDS: dict[Make, float] = {
    draw_character: 0.42,
    draw_lines: 0.2,
    draw_polygon: 0.1,
    draw_blot: 0.06,
    draw_texture: 0.04,
    turn_digit: 0.08,
    join_digits: 0.1,
}


def pick(digits: Split, labels: Sequence[int], rng: Random) -> Sketches:
    """One of the sketches with one of these labels, or any if there is none."""
    for _ in range(50):
        index = int(rng.integers(len(digits)))
        if int(digits.labels[index]) in labels:
            break
    image: Sketches = digits.images[index]
    return image


def draw(strokes: Sequence[NDArray[np.float64]], rng: Random) -> Sketches:
    """Strokes of any size, fitted into the pad and drawn with a random brush."""
    points = np.concatenate(strokes)
    low, extent = points.min(axis=0), max(float(np.ptp(points, axis=0).max()), 1e-3)
    size = float(rng.uniform(0.4, 1)) * (PAD - 2 * MARGIN)
    picture = draw_strokes(
        [((stroke - low) / extent).astype(np.float32) for stroke in strokes],
        canvas=(PAD, PAD),
        scale=size,
        offset=(MARGIN, MARGIN),
        brush_px=float(np.exp(rng.uniform(np.log(0.04), np.log(0.16)))) * size,
    )
    return prepare_sketch(picture)


def bend(lines: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Quadratic B-splines with these control points (n, 2)."""
    time = np.linspace(0, 1, 6)[:, None]
    weights = ((1 - time) ** 2 / 2, time * (1 - time) + 0.5, time**2 / 2)
    bent = []
    for line in lines:
        ends = np.concatenate([line[:1], line, line[-1:]])
        triples = zip(ends[:-2], ends[1:-1], ends[2:], strict=True)
        parts = [sum(w * p for w, p in zip(weights, each, strict=True)) for each in triples]
        bent.append(np.concatenate(parts))
    return bent


def distort(rng: Random) -> tuple[float, ...]:
    """A slight random rotation, shear and stretch about the middle of a sheet, for Pillow."""
    turn, shear, stretch = rng.normal(0, 0.12), rng.normal(0, 0.15), np.exp(rng.normal(0, 0.2))
    matrix = np.array([[np.cos(turn), np.sin(turn) + shear], [-np.sin(turn), np.cos(turn)]])
    matrix = matrix @ np.diag([stretch, 1.0])
    shift = np.array([PAD, PAD]) - matrix @ (PAD, PAD)
    return (*matrix[0].tolist(), float(shift[0]), *matrix[1].tolist(), float(shift[1]))


@cache
def load_typeface() -> tuple[ImageFont.FreeTypeFont, list[str]]:
    """DejaVu Sans, which comes with matplotlib, and its characters that are not like digits."""
    import matplotlib
    from matplotlib.ft2font import FT2Font

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    present = FT2Font(str(path)).get_charmap()
    codes = [code for low, high in BLOCKS for code in range(low, high + 1) if code in present]
    return ImageFont.truetype(path, PAD), [chr(code) for code in codes if is_other(chr(code))]


def is_other(character: str) -> bool:
    """Whether a character does not look like a digit; those with accents as without them."""
    plain = unicodedata.normalize("NFKD", character)[0]
    named = unicodedata.name(character, "")
    return (
        unicodedata.category(character) in CATEGORIES
        and plain not in DIGIT_LIKE
        and "DIGIT" not in named
        and "NUMBER" not in named
    )
