"""Drawings that are not digits, for training: curls, lines, shapes, blots and mixed-up digits.

They are random, so one in a few hundred does resemble a digit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from modelpad.datasets import PenDigit
from modelpad.datasets.pen_digits import Stroke
from modelpad.errors import EmptyCanvas
from modelpad.training.drawing import draw_prepared

Random = np.random.Generator
Strokes = list[Stroke]


def draw_doodles(count: int, digits: Sequence[PenDigit], seed: int) -> NDArray[np.uint8]:
    """`count` drawings that are no digits, prepared as a sketch: uint8 (N, 28, 28).

    Some are made of the strokes of `digits`, if there are any.
    """
    rng = np.random.default_rng([seed, 3])
    kinds: list[Callable[[Random], Strokes]] = [curls, lines, shapes, blots]
    if digits:
        kinds += [lambda rng: mixed(digits, rng), lambda rng: turned(digits, rng)]
    images = np.empty((count, 28, 28), dtype=np.uint8)
    for index in range(count):
        images[index] = _draw(kinds[index % len(kinds)], rng)
    return images


def curls(rng: Random) -> Strokes:
    """One to four smooth lines that turn at random, from a wave to a scribble."""
    return [_curve(rng, float(rng.choice([0.1, 0.4, 1.2]))) for _ in range(rng.integers(1, 5))]


def lines(rng: Random) -> Strokes:
    """Three to eight straight lines, some of them joined to a zigzag."""
    points = rng.uniform(0, 1, (int(rng.integers(4, 10)), 2))
    if rng.random() < 0.4:
        return [_stroke(points)]
    ends = points + rng.normal(0, 0.6, points.shape)
    return [_stroke(np.stack(pair)) for pair in zip(points, ends, strict=True)]


def shapes(rng: Random) -> Strokes:
    """Two to four polygons and arcs: no single circle, which is a zero."""
    return [_shape(rng) for _ in range(rng.integers(2, 5))]


def blots(rng: Random) -> Strokes:
    """A blot, a few dots, or an area filled by hatching."""
    if rng.random() < 0.4:
        return [_stroke(rng.uniform(0, 0.15, (int(rng.integers(1, 12)), 2)))]
    if rng.random() < 0.5:
        return [_stroke(point[None]) for point in rng.uniform(0, 1, (int(rng.integers(2, 9)), 2))]
    rows = np.linspace(0, 1, int(rng.integers(8, 20)))
    width = float(rng.uniform(0.4, 1))
    zigzag = [(width * (index % 2) + rng.normal(0, 0.03), row) for index, row in enumerate(rows)]
    return [_stroke(np.array(zigzag) @ _rotation(float(rng.uniform(0, np.pi))))]


def mixed(digits: Sequence[PenDigit], rng: Random) -> Strokes:
    """Two or three digits on top of or beside each other."""
    picked = rng.integers(0, len(digits), int(rng.integers(2, 4)))
    place, strokes = np.zeros(2), []
    for index in picked:
        strokes += [_stroke(stroke + place) for stroke in digits[index].strokes]
        place = place + rng.uniform(-0.5, 0.9, 2)
    return strokes


def turned(digits: Sequence[PenDigit], rng: Random) -> Strokes:
    """A digit lying on its side, with one line too many."""
    digit = digits[int(rng.integers(0, len(digits)))]
    angle = float(rng.choice([-1, 1])) * float(rng.uniform(1.1, 2.0))
    strokes = [_stroke((stroke - 0.5) @ _rotation(angle) + 0.5) for stroke in digit.strokes]
    return [*strokes, _curve(rng, 0.1)]


def _draw(make: Callable[[Random], Strokes], rng: Random) -> NDArray[np.uint8]:
    while True:
        strokes = make(rng)
        points = np.concatenate(strokes)
        low, extent = points.min(axis=0), max(float(np.ptp(points, axis=0).max()), 0.1)
        unit = tuple(_stroke((stroke - low) / extent) for stroke in strokes)
        try:
            return draw_prepared(PenDigit(-1, -1, unit), rng)
        except EmptyCanvas:  # a dot that fell outside
            continue


def _curve(rng: Random, turning: float) -> Stroke:
    """A line of 40 points whose direction changes smoothly by about `turning` radians a point."""
    bend = np.convolve(rng.normal(0, turning, 46), np.ones(7) / 7**0.5, "valid")
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(bend + rng.normal(0, turning / 3))
    steps = np.stack([np.cos(heading), np.sin(heading)], axis=1)
    points = np.cumsum(steps, axis=0)
    size = max(float(np.ptp(points, axis=0).max()), 1e-6)
    return _stroke(points / size * rng.uniform(0.4, 1) + rng.uniform(0, 0.5, 2))


def _shape(rng: Random) -> Stroke:
    corners = int(rng.choice([3, 4, 5, 24]))
    share = 1.0 if corners < 24 else float(rng.uniform(0.3, 1))
    angles = rng.uniform(0, 2 * np.pi) + np.linspace(0, 2 * np.pi * share, corners + 1)
    radii = rng.uniform(0.15, 0.5, 2)
    ring = np.stack([np.cos(angles) * radii[0], np.sin(angles) * radii[1]], axis=1)
    return _stroke(ring + rng.normal(0, 0.02, ring.shape) + rng.uniform(0, 0.7, 2))


def _rotation(angle: float) -> NDArray[np.float64]:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, sine], [-sine, cosine]])


def _stroke(points: NDArray[np.floating]) -> Stroke:
    return np.asarray(points, dtype=np.float32)
