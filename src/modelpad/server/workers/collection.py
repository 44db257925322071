"""Metrics of all workers: each worker's latest snapshot, and the sum over those that exited."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from modelpad.server.observability.metrics import RESTARTS, Metrics, Snapshot
from modelpad.server.workers.actions import Action, Send
from modelpad.server.workers.messages import CollectedMetrics, RequestSnapshot

TIMEOUT_S = 0.5  # then the latest snapshot of a worker that does not reply has to do


@dataclass(slots=True)
class PendingCollection:
    """A worker that waits for the metrics of the others, and those that have not replied."""

    asker: int
    pending: set[int]
    deadline: float


class MetricsCollection:
    """Adds up what workers counted, so that no counter goes down when one of them exits."""

    def __init__(self) -> None:
        self.restarts = 0
        self._snapshots: dict[int, Snapshot] = {}
        self._exited = Metrics("")
        self._collections: list[PendingCollection] = []

    def record(self, pid: int, snapshot: Snapshot) -> None:
        """Keeps the latest snapshot of a worker."""
        self._snapshots[pid] = snapshot
        self.stop_waiting_for(pid)

    def stop_waiting_for(self, pid: int) -> None:
        """Lets collections finish without a reply from this worker."""
        for each in self._collections:
            each.pending.discard(pid)

    def remove_worker(self, pid: int) -> None:
        """Adds the last snapshot of a worker that exited to the total."""
        self._exited.add(self._snapshots.pop(pid, Snapshot()))
        self.stop_waiting_for(pid)

    def start(self, asker: int, serving: Collection[int], now: float) -> list[Action]:
        """Asks all other workers for their metrics, for the worker `asker`."""
        others = [pid for pid in serving if pid != asker]
        self._collections.append(PendingCollection(asker, set(others), now + TIMEOUT_S))
        return [Send(pid, RequestSnapshot()) for pid in others]

    def finish(
        self, serving: Collection[int], leaving: Collection[int], now: float
    ) -> list[Action]:
        """Sends the totals of collections that are complete, or have waited long enough."""
        done = [each for each in self._collections if not each.pending or now >= each.deadline]
        self._collections = [each for each in self._collections if each not in done]
        return [Send(each.asker, self._total(each.asker, serving, leaving)) for each in done]

    def _total(
        self, asker: int, serving: Collection[int], leaving: Collection[int]
    ) -> CollectedMetrics:
        others = [self._snapshots.get(pid, Snapshot()) for pid in serving if pid != asker]
        gone = Metrics("")  # counts only: gauges describe workers that still serve
        for pid in leaving:
            if pid != asker:
                gone.add(self._snapshots.get(pid, Snapshot()))
        own = Snapshot(counters={RESTARTS: [((), self.restarts)]} if self.restarts else {})
        return CollectedMetrics([*others, gone.snapshot(), self._exited.snapshot(), own])
