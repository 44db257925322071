"""The training, validation and test data of the digits recipe.

Pen strokes from `pen-digits`, if available, are rendered as people draw on a pad. They are split by
writer: each writer's drawings are used only for training, only for validation or only for testing.
"""

from __future__ import annotations

from dataclasses import replace

from modelpad.datasets import PenDigit, Split, load_pen_strokes
from modelpad.errors import DataSetNotFound
from modelpad.training.card import DataRow
from modelpad.training.drawing import draw_split
from modelpad.training.image_splits import (
    ImageSplits,
    prepare_split,
    split_images,
    truncate,
)
from modelpad.training.run import Run

PENS = "Pen-Based Recognition of Handwritten Digits (Alpaydin, Alimoglu 1998)"
ROLE = "test only; strokes of other writers were used for training"
VALIDATION_SHARE = 1 / 30
DRAWINGS_PER_DIGIT = 2
VALIDATION_WRITERS = (4, 9, 18, 26)
TEST_WRITERS = (2, 7, 13, 21, 24, 29)


def load_splits(run: Run, *, pens: bool) -> tuple[ImageSplits, Split | None]:
    """The prepared splits, and the pen drawings of the test writers, if available."""
    data = run.load_data()
    known = run.request.data  # a folder may have the name of a data set, but no drawings
    if known == "uci-digits":
        test = None if data.test is None else prepare_split(data.test)
        data = replace(data, train=prepare_split(data.train), test=test)
    splits = split_images(data, run, validation=VALIDATION_SHARE)
    splits = replace(splits, sketch=known in ("mnist", "uci-digits"))
    return add_pens(run, splits) if pens and known == "mnist" else (splits, None)


def add_pens(run: Run, splits: ImageSplits) -> tuple[ImageSplits, Split | None]:
    """Adds rendered pen strokes to the splits, if available, and a note for the card."""
    try:
        digits = load_pen_strokes(run.request.roots)
    except DataSetNotFound:
        note = "Trained on MNIST only; pen-digits was not available."
        return replace(splits, notes=(*splits.notes, note)), None

    def written_by(writers: tuple[int, ...]) -> list[PenDigit]:
        return [digit for digit in digits if digit.writer in writers]

    limit = run.request.limit
    others = {digit.writer for digit in digits}.difference(VALIDATION_WRITERS, TEST_WRITERS)
    train = written_by(tuple(others))[: None if limit is None else limit // 3]
    drawings = draw_split(train, DRAWINGS_PER_DIGIT, run.seed)
    small = draw_split(train, 1, run.seed + 3, small=True)
    validation = draw_split(written_by(VALIDATION_WRITERS), 1, run.seed + 1)
    test = draw_split(written_by(TEST_WRITERS), 1, run.seed + 2)
    note = (
        f"Besides MNIST, trained on the pen strokes of {len({d.writer for d in train})} writers of"
        f" pen-digits. Writers {', '.join(map(str, VALIDATION_WRITERS))} are used for validation,"
        f" writers {', '.join(map(str, TEST_WRITERS))} for testing, and neither for training."
    )
    pens = truncate(test, limit, run.seed)
    splits = replace(
        splits,
        train=splits.train.join(drawings).join(small),
        validation=splits.validation.join(truncate(validation, limit, run.seed)),
        sources=(*splits.sources, DataRow(PENS, len(pens), "CC BY 4.0", ROLE)),
        notes=(*splits.notes, note),
    )
    return splits, pens
