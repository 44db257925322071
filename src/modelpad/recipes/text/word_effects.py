"""Which words move a text's score: each is left out in turn, as the web page does."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

WORD = re.compile(r"\s*\S+\s*")
MAX_PIECES = 100  # longer texts are divided into as many groups of words
SHOWN = 5  # pieces on each side
EDGE = 1e-6  # scores of 0 and 1 have no log-odds
SMALL = 0.05  # an effect that is not worth showing

ReadScores = Callable[[Sequence[str]], NDArray[np.float32]]
"""Scores (N, C) of texts."""

Effects = list[tuple[str, float]]


def divide_words(text: str, pieces: int = MAX_PIECES) -> list[str]:
    """The text in pieces of one or more words, each with the space around it."""
    words = WORD.findall(text)
    size = max(1, -(-len(words) // pieces))
    return ["".join(words[start : start + size]) for start in range(0, len(words), size)]


def measure_effects(text: str, label: int, read: ReadScores) -> Effects:
    """How much each piece of a text raises the log-odds of a class; none for a single piece."""
    pieces = divide_words(text)
    if len(pieces) < 2:
        return []
    rest = ["".join(pieces[:at] + pieces[at + 1 :]) for at in range(len(pieces))]
    shares = np.clip(read([text, *rest])[:, label].astype(np.float64), EDGE, 1 - EDGE)
    odds = np.log(shares / (1 - shares))
    effects = (odds[0] - odds[1:]).tolist()
    return [(piece.strip(), effect) for piece, effect in zip(pieces, effects, strict=True)]


def describe_effects(effects: Effects) -> tuple[str, str]:
    """The strongest pieces for the class and against it, with their effects."""
    ordered = sorted(effects, key=lambda each: -each[1])
    towards = [each for each in ordered if each[1] > SMALL][:SHOWN]
    away = [each for each in reversed(ordered) if each[1] < -SMALL][:SHOWN]
    return _write(towards), _write(away)


def _write(effects: Effects) -> str:
    return ", ".join(f"{piece} ({effect:+.1f})" for piece, effect in effects)
