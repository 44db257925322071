"""Inputs on which an exported page is compared with modelpad: samples, and generated ones."""

from __future__ import annotations

import io
from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING

from modelpad.bundle import Bundle

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image as Picture

DRAWINGS, PICTURES, TEXTS = 100, 12, 30
SIDES = (24, 28, 60, 140, 280, 500, 700)  # of drawings, in pixels
# What texts are made of: words that people write, and what divides tokenizers.
PIECES = (
    *("the film", " was", " not", " good", " I've", "don't", " WE'LL", "1984", " 3.14"),
    *("...", " -- ", "?!", "\n\n", "\t", "   ", "\r\n", "\xa0", "\u2028", "\ufeff"),
    *("\x00", "\x85", "caf\xe9", "e\u0301", " na\xefve", "\u6771\u4eac", "\u0645\u0631"),
    *("\u0660\u0661", "\U0001f3ac", "\U0001f469\u200d\U0001f680", "\U0001d54f", "\ufffd"),
    *("\u017f", "<|endoftext|>", "aaaaaaaaaaaa"),
)


def make_examples(bundle: Bundle) -> list[dict[str, object]]:
    """The samples of a bundle; for a sketch, image or text also generated ones, always the same."""
    signature = bundle.manifest.signature
    samples = [bundle.sample_values(sample.inputs) for sample in bundle.manifest.samples]
    kinds = {field.kind: field.name for field in signature.required_inputs}
    if len(signature.required_inputs) != 1:
        return samples
    drawings: Iterator[Picture] = iter(())
    if "sketch" in kinds:
        drawings = generate_drawings(DRAWINGS)
    elif "image" in kinds:
        drawings = generate_pictures(PICTURES)
    name = next(iter(kinds.values()))
    texts = generate_texts(TEXTS) if "text" in kinds else ()
    generated = [*(write_png(picture) for picture in drawings), *texts]
    return samples + [{name: value} for value in generated]


def generate_drawings(number: int, seed: int = 0) -> Iterator[Picture]:
    """Strokes of random places and widths: dark on light, light on dark, and photographed."""
    import numpy as np
    from PIL import Image, ImageDraw

    random = np.random.default_rng(seed)
    for index in range(number):
        side = SIDES[index % len(SIDES)]
        paper, ink = ((255, 17), (0, 255), (236, 60))[index % 3]
        sheet = Image.new("L", (side, side), paper)
        pen = ImageDraw.Draw(sheet)
        for _ in range(random.integers(1, 4)):
            points = (random.random((random.integers(2, 6), 2)) * 0.8 + 0.1) * side
            width = max(1, round(side * random.uniform(0.03, 0.12)))
            pen.line([(x, y) for x, y in points.tolist()], ink, width, joint="curve")
        yield photograph(sheet, random) if index % 5 == 4 and side >= 140 else sheet


def photograph(sheet: Picture, random: np.random.Generator) -> Picture:
    """A drawing under uneven light, with grain."""
    import numpy as np
    from PIL import Image

    levels = np.asarray(sheet.convert("RGB"), np.float64)
    light = np.linspace(random.uniform(0.5, 0.8), 1, levels.shape[1])[None, :, None]
    grain = random.normal(0, 3, levels.shape)
    return Image.fromarray(np.clip(levels * light * 0.85 + grain, 0, 255).astype(np.uint8))


def generate_pictures(number: int, seed: int = 0) -> Iterator[Picture]:
    """Pictures of coloured shapes and grain, of several sizes and proportions."""
    import numpy as np
    from PIL import Image, ImageDraw

    random = np.random.default_rng(seed)
    for index in range(number):
        width, height = (int(side) for side in random.integers(40, 640, 2))
        picture = Image.new("RGB", (width, height), tuple(random.integers(0, 256, 3).tolist()))
        pen = ImageDraw.Draw(picture)
        for _ in range(8):
            left, top = random.random(2) * (width, height)
            box = (left, top, left + random.random() * width, top + random.random() * height)
            pen.ellipse(box, tuple(random.integers(0, 256, 3).tolist()))
        grain = random.normal(0, 6, (height, width, 3))
        noisy = np.clip(np.asarray(picture, np.float64) + grain, 0, 255).astype(np.uint8)
        picture = Image.fromarray(noisy)
        yield picture.convert("L") if index % 6 == 5 else picture


def generate_texts(number: int, seed: int = 0) -> Iterator[str]:
    """Texts of words, numbers, spaces, emoji, several scripts, and characters of any kind."""
    random = Random(seed)
    for index in range(number):
        parts = random.choices(PIECES, k=random.choice((1, 3, 10, 40)))
        if index % 3 == 0:
            parts += [_draw_character(random) for _ in range(20)]
        if index % 10 == 9:  # a word of many tokens
            parts.append("".join(random.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=300)))
        yield "x" + "".join(parts)


def write_png(picture: Picture) -> bytes:
    """A picture as a PNG file."""
    body = io.BytesIO()
    picture.save(body, "PNG", compress_level=1)
    return body.getvalue()


def _draw_character(random: Random) -> str:
    """Any character but half of a surrogate pair, of one to four bytes in UTF-8."""
    first, last = random.choice(((0, 0x7F), (0x80, 0x7FF), (0x800, 0xD7FF), (0x10000, 0x10FFFF)))
    return chr(random.randint(first, last))
