"""Predictions of one version for labelled items, and how many of them are right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import TYPE_CHECKING

from modelpad.bundle import Bundle
from modelpad.engine import Session, SessionSettings, allotted_cpus
from modelpad.errors import InvalidInput, TooLarge
from modelpad.feedback import find_label
from modelpad.fields import Label
from modelpad.promotion.held_out import HeldOut, Values
from modelpad.statistics import mcnemar

if TYPE_CHECKING:
    from modelpad.fields.arrays import Arrays

BATCH = 64


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One version's predictions for a held-out set; None where the version rejects the input."""

    truth: tuple[str, ...]
    predicted: tuple[str | None, ...]

    @property
    def is_right(self) -> list[bool]:
        """Whether each item is right."""
        return [one == true for one, true in zip(self.predicted, self.truth, strict=True)]

    @property
    def correct(self) -> int:
        """How many items are right."""
        return sum(self.is_right)

    @property
    def rejected(self) -> int:
        """How many inputs the version cannot read; they count as wrong."""
        return self.predicted.count(None)

    @property
    def accuracy(self) -> Fraction:
        """The share of items that are right."""
        return Fraction(self.correct, len(self.truth))

    @property
    def balanced_accuracy(self) -> Fraction:
        """The mean over classes of the share that is right."""
        counts = Counter(self.truth)
        pairs = zip(self.truth, self.is_right, strict=True)
        right = Counter(true for true, is_right in pairs if is_right)
        shares = [Fraction(right[label], count) for label, count in counts.items()]
        return sum(shares, Fraction(0)) / len(shares)


@dataclass(frozen=True, slots=True)
class Difference:
    """How two versions differ on the same items; `p` is of McNemar's exact test."""

    only_candidate: int
    only_baseline: int

    @property
    def p(self) -> float:
        """The probability of at least this difference between equally good versions."""
        return mcnemar(self.only_candidate, self.only_baseline)


def differ(candidate: Evaluated, baseline: Evaluated) -> Difference:
    """The items that only one of two versions gets right."""
    pairs = [*zip(candidate.is_right, baseline.is_right, strict=True)]
    return Difference(pairs.count((True, False)), pairs.count((False, True)))


def evaluate(session: Session, held_out: HeldOut) -> Evaluated:
    """The version's predictions of its only label for all items.

    Raises `InvalidInput` if it has not exactly one, and `ModelFailed` if the graph fails.
    """
    label = find_label(session.signature)
    return Evaluated(held_out.truth, tuple(predict_labels(session, label, held_out.open_items())))


def evaluate_bundle(bundle: Bundle, sets: Iterable[HeldOut]) -> list[Evaluated]:
    """A version's predictions for each set, in an engine of its own. Raises as `evaluate`."""
    session = Session(bundle, SessionSettings(allotted_cpus()))
    try:
        return [evaluate(session, each) for each in sets]
    finally:
        session.close()


def predict_labels(session: Session, label: Label, items: Iterable[Values]) -> Iterator[str | None]:
    """The predicted label of each item, in batches where the graph allows them.

    None for an input that the version rejects, and for scores that are not finite.
    """
    remaining = iter(items)
    while chunk := [*islice(remaining, BATCH)]:
        decoded = [_decode(session, values) for values in chunk]
        batches = join(session, [arrays for arrays in decoded if arrays is not None])
        labels = iter([name for batch in batches for name in _run(session, label, batch)])
        yield from (None if arrays is None else next(labels) for arrays in decoded)


def join(session: Session, items: Sequence[Arrays]) -> list[Arrays]:
    """The items as few batches: one, if all have the same shapes and the graph takes it."""
    import numpy as np

    shapes = {tuple((name, array.shape) for name, array in one.items()) for one in items}
    if len(shapes) != 1 or not session.can_split:
        return [*items]
    return [{name: np.concatenate([one[name] for one in items]) for name in items[0]}]


def _decode(session: Session, values: Values) -> Arrays | None:
    try:
        return session.typed.inputs.decode(values)
    except (InvalidInput, TooLarge):
        return None


def _run(session: Session, label: Label, batch: Arrays) -> list[str | None]:
    import numpy as np

    found = session.typed.outputs.read_field(label.name, session.predict(batch))
    scores = np.asarray(found, np.float64).reshape(-1, len(label.classes))
    best = scores.argmax(axis=1).tolist()
    valid = np.asarray(np.isfinite(scores).all(axis=1)).tolist()
    return [label.classes[k] if ok else None for k, ok in zip(best, valid, strict=True)]
