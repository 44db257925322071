"""Decides after each epoch of a trial whether it goes on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from modelpad.training.trial import TrialEnded
from modelpad.tuning.journal import State
from modelpad.tuning.proposals import Proposal


class OutOfTime(TrialEnded):
    """The search has used up its time: the trial does not count."""


class Judge:
    """Hears of the epochs of one trial, and ends it when it is poor, broken or too late."""

    def __init__(self, metric: str, proposal: Proposal, is_late: Callable[[], bool]) -> None:
        self._metric, self._proposal, self._is_late = metric, proposal, is_late
        self.state: State = "finished"
        self.losses: tuple[float, ...] = ()
        self.epochs, self.reason = 0, ""
        self.used: dict[str, float] = {}

    def use(self, values: Mapping[str, float]) -> None:
        """Notes the values of options that are in effect."""
        self.used |= values

    def fail(self, reason: str) -> None:
        """Records why the trial failed."""
        self.state, self.reason = "failed", reason

    def report(self, history: Sequence[Mapping[str, float]], epochs: int) -> None:
        """Raises `TrialEnded` as the protocol `Trial` says."""
        losses = tuple(row[self._metric] for row in history)
        self.epochs = epochs
        if not math.isfinite(losses[-1]):
            self.fail(f"{self._metric} is {losses[-1]}")
            raise TrialEnded
        self.losses = losses
        if self._proposal.is_poor(losses, epochs):
            self.state = "pruned"
            raise TrialEnded
        if len(losses) < epochs and self._is_late():
            raise OutOfTime
