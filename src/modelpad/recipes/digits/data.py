"""What is learned from, and what is kept aside to choose and to test by.

Validation comes out of the training split; the test split is touched once, at the end. Pen strokes
of `pen-digits`, where that data set is at hand, are drawn as people draw on a pad, and writers, not
drawings, are kept apart: some choose, some test, and the model learns from the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from modelpad.datasets import DataSet, PenDigit, Split, draw_strokes, load_data, load_pen_strokes
from modelpad.errors import DataSetInvalid, DataSetNotFound
from modelpad.fields.preparation import prepare_sketch

if TYPE_CHECKING:
    from modelpad.recipes.digits.options import TrainOptions

VALIDATION_PART = 1 / 30
DRAWINGS_PER_DIGIT = 2
PAD = 140  # pixels: half the page's pad, as what is drawn is reduced to 20 pixels anyway
VALIDATION_WRITERS = (4, 9, 18, 26)
TEST_WRITERS = (2, 7, 13, 21, 24, 29)


@dataclass(frozen=True, slots=True)
class Splits:
    """The splits, and what the card says of them; `pens` is the writers kept for the end."""

    data: DataSet
    train: Split
    validation: Split
    test: Split
    pens: Split | None
    sketch: bool
    notes: tuple[str, ...]

    @property
    def item_shape(self) -> tuple[int, ...]:
        """One item as the graph takes it: (28, 28) for a sketch, else (H, W, channels)."""
        shape = self.train.shape
        return shape if self.sketch or len(shape) == 3 else (*shape, 1)


def gather_material(options: TrainOptions) -> Splits:
    """Loads, prepares and splits the data.

    Raises:
        DataSetNotFound, DataSetInvalid: it is not here, or cannot be learned from.
    """
    data = load_data(
        options.data,
        roots=options.roots,
        cache=options.cache,
        on_unreadable="skip" if options.skip_unreadable else "refuse",
    )
    sketch = data.name in ("mnist", "uci-digits")
    train, test = data.train, data.test
    notes = [f"{len(data.skipped)} pictures could not be read and were left out."] * bool(
        data.skipped
    )
    if data.name == "uci-digits":
        train = prepare_split(train)
        test = None if test is None else prepare_split(test)
    rng = np.random.default_rng([options.seed, 1])
    if test is None:
        train, test = divide(train, 0.2, rng)
        notes.append("A fifth of the data, chosen at random, was kept aside as the test set.")
    train, validation = divide(train, VALIDATION_PART, rng)
    train, validation, test = (cut(part, options.limit) for part in (train, validation, test))
    pens = None
    if options.architecture == "best" and data.name == "mnist":
        train, validation, pens, note = add_pens(options, train, validation)
        notes.append(note)
    return Splits(data, train, validation, test, pens, sketch, tuple(notes))


def add_pens(
    options: TrainOptions, train: Split, validation: Split
) -> tuple[Split, Split, Split | None, str]:
    """The splits with drawn pen strokes, where these are at hand, and a note for the card."""
    try:
        digits = load_pen_strokes(options.roots)
    except DataSetNotFound:
        return train, validation, None, "It learned from MNIST alone; pen-digits was not at hand."
    held = {*VALIDATION_WRITERS, *TEST_WRITERS}
    learned = [digit for digit in digits if digit.writer not in held]
    if options.limit is not None:
        learned = learned[: options.limit // 3]
    writers = sorted({digit.writer for digit in learned})
    drawn = draw_split(learned, DRAWINGS_PER_DIGIT, options.seed)
    chosen = draw_split([d for d in digits if d.writer in VALIDATION_WRITERS], 1, options.seed + 1)
    tested = draw_split([d for d in digits if d.writer in TEST_WRITERS], 1, options.seed + 2)
    note = (
        f"Besides MNIST it learned from the pen strokes of {len(writers)} writers of pen-digits."
        f" Writers {', '.join(map(str, VALIDATION_WRITERS))} chose the weights, writers"
        f" {', '.join(map(str, TEST_WRITERS))} test them: neither was learned from."
    )
    limit = options.limit
    return join(train, drawn), join(validation, cut(chosen, limit)), cut(tested, limit), note


def draw_split(digits: list[PenDigit], times: int, seed: int) -> Split:
    """Each digit drawn `times` at random size, place, slant and brush, and prepared."""
    images = np.empty((len(digits) * times, 28, 28), dtype=np.uint8)
    labels = np.repeat(np.array([digit.label for digit in digits], dtype=np.int64), times)
    rng = np.random.default_rng([seed, 2])
    for index in range(len(images)):
        images[index] = draw_prepared(digits[index // times], rng)
    return Split(images, labels)


def draw_prepared(digit: PenDigit, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One drawing as uint8 (28, 28), as a person would draw it: anywhere, any size, any brush."""
    height = float(rng.uniform(0.35, 0.9)) * PAD
    width = min(height * float(np.exp(rng.normal(0, 0.12))), PAD * 0.92)
    slant = float(rng.normal(0, 0.15))
    strokes = [s - np.stack([slant * (s[:, 1] - 0.5), 0 * s[:, 1]], axis=1) for s in digit.strokes]
    points = np.concatenate(strokes) * (width, height)
    low, high = points.min(axis=0), points.max(axis=0)
    room = np.maximum(PAD - (high - low) - 4, 5)
    place = rng.uniform(4, room) - low
    brush = max(float(np.exp(rng.uniform(np.log(0.03), np.log(0.16)))) * height, 0.8)
    picture = draw_strokes(
        strokes,
        canvas=(PAD, PAD),
        scale=(width, height),
        offset=(float(place[0]), float(place[1])),
        brush_px=brush,
    )
    return prepare_sketch(picture)


def prepare_split(split: Split) -> Split:
    """Every picture prepared as a sketch."""
    from PIL import Image

    images = np.stack([prepare_sketch(Image.fromarray(image)) for image in split.images])
    return Split(images, split.labels)


def divide(split: Split, part: float, rng: np.random.Generator) -> tuple[Split, Split]:
    """The split without `part` of it, and that part, both with every class in proportion.

    Raises:
        DataSetInvalid: a class has fewer than three pictures.
    """
    kept: list[NDArray[np.int64]] = []
    taken: list[NDArray[np.int64]] = []
    for label in np.unique(split.labels):
        members = rng.permutation(np.flatnonzero(split.labels == label)).astype(np.int64)
        if len(members) < 3:
            raise DataSetInvalid(
                f"Class {label} has {len(members)} pictures.",
                hint="Each class needs at least three: to learn, to choose and to test.",
            )
        count = max(1, round(len(members) * part))
        taken.append(members[:count])
        kept.append(members[count:])
    return (
        split.take(rng.permutation(np.concatenate(kept))),
        split.take(rng.permutation(np.concatenate(taken))),
    )


def cut(split: Split, limit: int | None) -> Split:
    """The first `limit` items; all when it is None."""
    return split if limit is None else split.take(np.arange(min(limit, len(split))))


def join(first: Split, second: Split) -> Split:
    """Both, one after the other."""
    return Split(
        np.concatenate([first.images, second.images]),
        np.concatenate([first.labels, second.labels]),
    )
