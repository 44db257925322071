"""Texts divided for training, validation and testing, and what the card says about them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelpad.datasets import DataSet, LoadOptions, Split, TableOptions, Task, Texts
from modelpad.errors import DataSetInvalid
from modelpad.training.card import DataRow
from modelpad.training.run import Run
from modelpad.training.splits import hold_out, validation_share
from modelpad.training.strata import sample_evenly

MIN_CHARACTERS = 1000  # of all texts, to learn a language from
FEW = 100  # with fewer texts, they are cut into pieces
PIECE, MIN_PIECES = 4000, 10  # characters; shorter pieces give at least so many
VALIDATION_SHARE, MAX_VALIDATION = 0.02, 1000
TEST_SHARE, MAX_TEST = 0.05, 5000
CLASS_VALIDATION_SHARE, CLASS_TEST_SHARE = 0.06, 0.2
MIN_ITEMS = 5  # of each class


@dataclass(frozen=True, slots=True)
class TextSplits:
    """Texts to model: for training, validation and testing, with notes for the card."""

    data: DataSet
    train: list[str]
    validation: list[str]
    test: list[str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelledTexts:
    """Texts and the indices of their classes, int64 (N,)."""

    texts: list[str]
    labels: NDArray[np.int64]

    def take(self, indices: NDArray[np.int64]) -> LabelledTexts:
        """Some of them, in that order."""
        return LabelledTexts(
            [self.texts[index] for index in indices.tolist()], self.labels[indices]
        )


@dataclass(frozen=True, slots=True)
class LabelledSplits:
    """Labelled texts for training, validation and testing.

    `repeated` (N,): which test texts are also in the training data, word for word.
    """

    data: DataSet
    train: LabelledTexts
    validation: LabelledTexts
    test: LabelledTexts
    repeated: NDArray[np.bool_]
    notes: tuple[str, ...] = ()


def load_texts(run: Run, column: str | None) -> TextSplits:
    """The run's data set as texts without labels; its test texts are in no other split.

    Raises DataSetInvalid when it does not hold texts, or hardly any.
    """
    options = LoadOptions(table=TableOptions(column, (), "unlabelled"))
    data = run.load_data(options)
    every = read_texts(data, data.train)
    if data.unlabelled is not None:
        every += read_texts(data, data.unlabelled)
    if sum(map(len, every)) < MIN_CHARACTERS:
        raise DataSetInvalid(
            f"{data.name} holds only {sum(map(len, every)):,} characters of text.",
            hint="A language model needs a hundred thousand or more; a few million are better.",
            path=data.name,
        )
    rng = np.random.default_rng([run.seed, 1])
    limit = run.request.limit
    notes = list(data.notes)
    if data.test is not None:
        test = read_texts(data, data.test)
        kept = without(every, test)
        if len(kept) < len(every):
            notes.append(
                f"{len(every) - len(kept):,} texts that are also in the test set, word for word,"
                " were left out of the training."
            )
        every = divide_long(kept)
    else:
        every = divide_long(every)
        every, test = hold_out_texts(every, TEST_SHARE, MAX_TEST, rng)
        notes.append(f"{len(test):,} texts, chosen at random, were held out as the test set.")
    train, validation = hold_out_texts(every, VALIDATION_SHARE, MAX_VALIDATION, rng)
    train, validation, test = (take_some(each, limit, rng) for each in (train, validation, test))
    return TextSplits(data, train, validation, test, tuple(notes))


def read_texts(data: DataSet, split: Split) -> list[str]:
    """The texts of a split. Raises DataSetInvalid when it holds something else."""
    if not isinstance(split.inputs, Texts):
        raise DataSetInvalid(
            f"{data.name} holds images, not texts.",
            hint="Give a table with a column of texts, or a folder of .txt files.",
            path=data.name,
        )
    return list(split.inputs.items)


def without(texts: Sequence[str], others: Collection[str]) -> list[str]:
    """The texts that are not among the others."""
    known = set(others)
    return [text for text in texts if text not in known]


def divide_long(texts: list[str]) -> list[str]:
    """The texts; if there are few, in pieces of whole lines, so that some can be held out.

    Lines longer than a piece are cut, too.
    """
    if len(texts) >= FEW:
        return texts
    size = max(1, min(PIECE, sum(map(len, texts)) // MIN_PIECES))
    pieces: list[str] = []
    for text in texts:
        piece = ""
        for line in text.splitlines(keepends=True):
            for start in range(0, len(line), size):
                piece += line[start : start + size]
                if len(piece) >= size:
                    pieces.append(piece)
                    piece = ""
        if piece:
            pieces.append(piece)
    return pieces


def hold_out_texts(
    texts: list[str], share: float, most: int, rng: np.random.Generator
) -> tuple[list[str], list[str]]:
    """The texts without a random share, in their order, and the share; at least one in each.

    Raises DataSetInvalid for fewer than two.
    """
    if len(texts) < 2:
        raise DataSetInvalid(
            "There is only one piece of text, so none can be held out.",
            hint="Give more text: a few thousand characters at least.",
        )
    count = min(most, max(1, round(share * len(texts))))
    chosen = set(rng.permutation(len(texts))[:count].tolist())
    kept = [text for index, text in enumerate(texts) if index not in chosen]
    return kept, [texts[index] for index in sorted(chosen)]


def take_some(texts: list[str], limit: int | None, rng: np.random.Generator) -> list[str]:
    """At most `limit` of the texts, chosen at random, in their order."""
    return [texts[index] for index in np.sort(rng.permutation(len(texts))[:limit]).tolist()]


def load_labelled(run: Run, text_column: str | None, label_column: str | None) -> LabelledSplits:
    """The run's data set as labelled texts; without a test split, a fifth is held out.

    Raises DataSetInvalid when it does not hold texts with one class each.
    """
    targets = (label_column,) if label_column else ()
    task: Task | None = "classification" if label_column else None
    data = run.load_data(LoadOptions(table=TableOptions(text_column, targets, task)))
    texts = read_texts(data, data.train)
    if data.task != "classification":
        raise DataSetInvalid(
            f"The texts of {data.name} have no classes.",
            hint="Name the table's column of classes with --label-column, or put the texts of each"
            " class into a folder of its own.",
            path=data.name,
        )
    require_enough(data)
    rng = np.random.default_rng([run.seed, 1])
    every = LabelledTexts(texts, data.train.labels)
    notes = list(data.notes)
    if data.test is not None:
        test = LabelledTexts(read_texts(data, data.test), data.test.labels)
    else:
        kept, held_out = hold_out(every.labels, CLASS_TEST_SHARE, rng, names=data.classes)
        every, test = every.take(kept), every.take(held_out)
        notes.append("A fifth of the data, chosen at random, was held out as the test set.")
    share = validation_share(len(every.texts), CLASS_VALIDATION_SHARE)
    kept, held_out = hold_out(every.labels, share, rng, names=data.classes)
    train, validation = every.take(kept), every.take(held_out)
    limit = run.request.limit
    if limit is not None:
        train, validation, test = (
            part.take(sample_evenly(part.labels, limit, rng)) for part in (train, validation, test)
        )
    seen = {*train.texts, *validation.texts}
    repeated = np.array([text in seen for text in test.texts], np.bool_)
    return LabelledSplits(data, train, validation, test, repeated, tuple(notes))


def describe_texts(splits: LabelledSplits) -> DataRow:
    """The card's entry for the data set."""
    counts = [len(each.texts) for each in (splits.train, splits.validation, splits.test)]
    role = "{:,} texts for training, {:,} for validation, {:,} for testing".format(*counts)
    return DataRow(splits.data.title, sum(counts), splits.data.licence, role)


def require_enough(data: DataSet) -> None:
    """Raises DataSetInvalid for a class with too few texts."""
    for name, count in data.count_classes(data.train).items():
        if count < MIN_ITEMS:
            raise DataSetInvalid(
                f"The class {name!r} has only {count} text{'s' * (count != 1)}.",
                hint=f"Each class needs at least {MIN_ITEMS}; from 100 on, results are reliable.",
                path=data.name,
            )
