"""Digits as they come in real life: on paper, small, or no digits at all, through the typed API.

Papers (`papers.py`) are synthetic photographs; small drawings are 12 % of the page's pad, sent as a
picture, and with `--page` drawn with a mouse in a real Chromium (`page_pad.py`); other drawings
(`other_drawings.py`) must be reported as unknown. Needs MODELPAD_DATA with pen-digits/. The digits
are of writers that the model was not trained on, and those of `--validation` are the ones to
develop against.

usage: python bench/real_life.py [--count 200] [--validation] [--page] [--model BUNDLE]
"""

from __future__ import annotations

import argparse
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from modelpad.bundle import open_bundle
from modelpad.datasets import PenDigit, draw_strokes, load_pen_strokes
from modelpad.engine import Session
from modelpad.errors import DataSetNotFound, EmptyCanvas
from modelpad.zoo import zoo_bundles
from other_drawings import OTHERS
from page_pad import open_pad
from papers import SCENES, photograph

VALIDATION_WRITERS, TEST_WRITERS = (4, 9, 18, 26), (2, 7, 13, 21, 24, 29)  # as the recipe's
PAD, BRUSH, SMALL = 280, 20.0, 0.12

Random = np.random.Generator
Answer = dict[str, object]
Draw = Callable[[PenDigit, Random], bytes]


def draw_small(digit: PenDigit, rng: Random) -> bytes:
    """A PNG of the pad with a digit of 12 % of its side, drawn with the page's brush."""
    file = io.BytesIO()
    x, y = place_small(rng)
    picture = draw_strokes(digit.strokes, scale=SMALL * PAD, offset=(x, y), brush_px=BRUSH)
    picture.save(file, "PNG")
    return file.getvalue()


def place_small(rng: Random) -> tuple[float, float]:
    """Where a small digit begins on the pad, in pixels."""
    x, y = rng.uniform(BRUSH, PAD - SMALL * PAD - BRUSH, 2)
    return float(x), float(y)


def draw_large(digit: PenDigit, rng: Random) -> bytes:
    """A PNG of the pad with a digit of the usual size."""
    size = float(rng.uniform(80, 230))
    place = rng.uniform(5, PAD - size - 10, 2)
    brush, file = float(rng.uniform(8, 28)), io.BytesIO()
    offset = (float(place[0]), float(place[1]))
    draw_strokes(digit.strokes, scale=size, offset=offset, brush_px=brush).save(file, "PNG")
    return file.getvalue()


def list_tasks() -> Iterator[tuple[str, Draw]]:
    """The kinds of digits, each with what draws one."""
    for name, scene in SCENES.items():
        yield f"paper, {name}", lambda digit, rng, scene=scene: photograph(digit, scene, rng)
    yield "small", draw_small
    yield "usual size", draw_large


def ask(session: Session, picture: bytes) -> Answer | None:
    """The typed API's label for a picture; None if it says that there is nothing on it."""
    try:
        answer = session.answer({"image": picture})["label"]
    except EmptyCanvas:
        return None
    assert isinstance(answer, dict)
    return answer


def measure_digits(
    digits: Sequence[PenDigit], answer: Callable[[PenDigit, Random], Answer | None], count: int
) -> Answer:
    """How many are recognised, and how many of all are called unknown."""
    rng = np.random.default_rng(2026)
    picked = [digits[index] for index in rng.permutation(len(digits))[:count]]
    answers = [answer(digit, rng) for digit in picked]
    right = [
        answer is not None and answer["label"] == str(digit.label)
        for digit, answer in zip(picked, answers, strict=True)
    ]
    unknown = sum(answer is None or bool(answer.get("unknown")) for answer in answers)
    early = sum(right[:20])
    return {"digits": count, "right": sum(right), "of the first 20": early, "unknown": unknown}


def measure_page(model: Path, digits: Sequence[PenDigit], count: int) -> Answer:
    """The same for small digits drawn with a mouse on the page."""
    with open_pad(model) as draw:

        def answer(digit: PenDigit, rng: Random) -> Answer:
            place = np.array(place_small(rng)) / PAD
            return draw([stroke * SMALL + place for stroke in digit.strokes])

        return measure_digits(digits, answer, count)


def measure_others(session: Session, draw: Callable[..., bytes], count: int) -> Answer:
    """How many are called unknown or empty, and how many get a label with 90 % confidence."""
    rng = np.random.default_rng(2026)
    answers = [ask(session, draw(rng)) for _ in range(count)]
    found = [answer for answer in answers if answer is not None]
    rejected = len(answers) - sum(not answer.get("unknown") for answer in found)
    sure = sum(
        float(str(answer["confidence"])) >= 0.9 and not answer.get("unknown") for answer in found
    )
    empty = count - len(found)
    return {"drawings": count, "rejected": rejected, "of them empty": empty, "sure": sure}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--validation", action="store_true")
    parser.add_argument("--page", action="store_true")
    parser.add_argument("--model", type=Path, default=zoo_bundles()["digits"])
    args = parser.parse_args()
    writers = VALIDATION_WRITERS if args.validation else TEST_WRITERS
    roots = [Path(root) for root in os.environ.get("MODELPAD_DATA", "").split(os.pathsep) if root]
    try:
        digits = [digit for digit in load_pen_strokes(roots) if digit.writer in writers]
    except DataSetNotFound as error:
        raise SystemExit(error.words) from None
    session = Session(open_bundle(args.model))
    rows: dict[str, Answer] = {}
    for name, draw in list_tasks():

        def answer(digit: PenDigit, rng: Random, draw: Draw = draw) -> Answer | None:
            return ask(session, draw(digit, rng))

        rows[name] = measure_digits(digits, answer, args.count)
    if args.page:
        rows["small, on the page"] = measure_page(args.model, digits, args.count)
    for name, make in OTHERS.items():
        rows[name] = measure_others(session, make, args.count)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
