"""What a trial of a search is to a run: it hears of each epoch, and ends before the test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class TrialEnded(Exception):
    """The trial has been judged: its training ends here, and its model is not tested."""


class Trial(Protocol):
    """A training of which only the validation metrics matter."""

    def use(self, values: Mapping[str, float]) -> None:
        """Hears the values of options that are in effect, be they given or the recipe's own."""

    def report(self, history: Sequence[Mapping[str, float]], epochs: int) -> None:
        """Hears the metrics of all epochs so far, of `epochs` in all.

        Raises `TrialEnded` if the others are not worth training.
        """
