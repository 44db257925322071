"""What the recipe learns from, and what it keeps apart to choose and to test by.

Pen strokes of `pen-digits`, where that data set is at hand, are drawn as people draw on a pad, and
writers, not drawings, are kept apart: some choose, some test, and the model learns from the others.
"""

from __future__ import annotations

from dataclasses import replace

from modelpad.datasets import PenDigit, Split, load_pen_strokes
from modelpad.errors import DataSetNotFound
from modelpad.training.card import DataRow
from modelpad.training.drawing import draw_split
from modelpad.training.image_splits import ImageSplits, cut, join, prepare_split, split_images
from modelpad.training.run import Run

PENS = "Pen-Based Recognition of Handwritten Digits (Alpaydin, Alimoglu 1998)"
ROLE = "strokes of other writers learned from; these drawings only tested"
VALIDATION_SHARE = 1 / 30
DRAWINGS_PER_DIGIT = 2
VALIDATION_WRITERS = (4, 9, 18, 26)
TEST_WRITERS = (2, 7, 13, 21, 24, 29)


def load_splits(run: Run, *, pens: bool) -> tuple[ImageSplits, Split | None]:
    """The data, prepared and split, and the pen drawings of the writers kept for the end."""
    data = run.load_data()
    if data.name == "uci-digits":
        test = None if data.test is None else prepare_split(data.test)
        data = replace(data, train=prepare_split(data.train), test=test)
    splits = split_images(data, run, validation=VALIDATION_SHARE)
    splits = replace(splits, sketch=data.name in ("mnist", "uci-digits"))
    return add_pens(run, splits) if pens and data.name == "mnist" else (splits, None)


def add_pens(run: Run, splits: ImageSplits) -> tuple[ImageSplits, Split | None]:
    """The splits with drawn pen strokes, where these are at hand, and a note for the card."""
    try:
        digits = load_pen_strokes(run.request.roots)
    except DataSetNotFound:
        note = "It learned from MNIST alone; pen-digits was not at hand."
        return replace(splits, notes=(*splits.notes, note)), None

    def written_by(writers: tuple[int, ...]) -> list[PenDigit]:
        return [digit for digit in digits if digit.writer in writers]

    limit = run.request.limit
    others = {digit.writer for digit in digits}.difference(VALIDATION_WRITERS, TEST_WRITERS)
    learned = written_by(tuple(others))[: None if limit is None else limit // 3]
    drawn = draw_split(learned, DRAWINGS_PER_DIGIT, run.seed)
    chosen = draw_split(written_by(VALIDATION_WRITERS), 1, run.seed + 1)
    tested = draw_split(written_by(TEST_WRITERS), 1, run.seed + 2)
    note = (
        f"Besides MNIST it learned from the pen strokes of {len({d.writer for d in learned})}"
        f" writers of pen-digits. Writers {', '.join(map(str, VALIDATION_WRITERS))} chose the"
        f" weights, writers {', '.join(map(str, TEST_WRITERS))} test them: neither was learned"
        " from."
    )
    pens = cut(tested, limit)
    splits = replace(
        splits,
        train=join(splits.train, drawn),
        validation=join(splits.validation, cut(chosen, limit)),
        sources=(*splits.sources, DataRow(PENS, len(pens), "CC BY 4.0", ROLE)),
        notes=(*splits.notes, note),
    )
    return splits, pens
