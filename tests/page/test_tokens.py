"""The page's colours as numbers: every text can be read on every surface, in light and dark."""

from __future__ import annotations

import re

import pytest

from modelpad.server.page import FOLDER

SURFACES = ("card", "paper", "wash", "warn")
TEXTS = ("ink", "soft", "accent", "bad")
LEAST = 4.5


def read_palette(theme: str) -> dict[str, str]:
    rules = re.findall(r":root[^{]*\{([^}]*color-scheme: (\w+)[^}]*)\}", _style())
    (body,) = (text for text, scheme in rules if scheme == theme)
    return dict(re.findall(r"--([\w-]+): #([0-9a-f]{3,6});", body))


def _style() -> str:
    return (FOLDER / "style.css").read_text("utf-8")


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2.2 defines it."""
    digits = "".join(2 * digit for digit in colour) if len(colour) == 3 else colour
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_has_contrast_on_every_surface(theme: str) -> None:
    colours = read_palette(theme)
    pairs = [(text, surface) for text in TEXTS for surface in SURFACES]
    for text, surface in [*pairs, ("accent-ink", "accent")]:
        assert contrast(colours[text], colours[surface]) >= LEAST, (text, surface)


def test_every_token_that_is_used_exists() -> None:
    sheets = "".join(sheet.read_text("utf-8") for sheet in FOLDER.glob("*.css"))
    defined = set(re.findall(r"(--[\w-]+):", sheets))
    assert set(re.findall(r"var\((--[\w-]+)", sheets)) <= defined
