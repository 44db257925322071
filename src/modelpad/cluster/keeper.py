"""Keeps a training on a cluster: its log, and what came of it, for whoever asks.

A keeper needs no CPU of its own, and outlives the command that started it. The training itself is
a task, whose resources are free again as soon as it ends.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from modelpad.cluster.order import LOST, Finished, Order, Resources
from modelpad.cluster.process import run_order
from modelpad.cluster.team import run_team

MAX_LOG_BYTES = 1_000_000
INTERRUPTED = 130  # the exit code of Ctrl-C


@dataclass(frozen=True, slots=True)
class Progress:
    """News of a training: `text` since the last time, up to `end` of the log."""

    text: bytes
    end: int
    has_begun: bool
    has_ended: bool


class Keeper:
    """An actor of Ray; its methods run in several threads."""

    def __init__(self, digest: str) -> None:
        self._digest, self._lock = digest, threading.Lock()
        self._log, self._dropped = b"", 0
        self._interrupts, self._has_begun = 0, False
        self._task: Any = None
        self._cancelled = False
        self._outcome: Finished | None = None

    def start(self, order: Order, resources: Resources) -> None:
        """Begins the training as soon as there are resources for it."""
        import ray

        me = ray.get_runtime_context().current_actor

        def train(order: Order) -> Finished:
            return run_order(order, lambda text: int(ray.get(me.report.remote(text))))

        def train_together(order: Order) -> Finished:
            return run_team(order, resources, me)

        if resources.workers == 1:
            work, wanted = train, {"num_cpus": resources.cpus, "num_gpus": resources.gpus}
        else:
            work, wanted = train_together, {"num_cpus": 0}  # its workers have them
        # A process of its own, with which what Ray Train has started ends, too.
        task: Any = ray.remote(max_calls=1)(work)
        self._task = task.options(**wanted, max_retries=0).remote(order)

    def describe(self) -> tuple[str, int | None]:
        """The digest of its order, and the exit code if the training has ended."""
        import ray

        if self._task is None:  # whoever wanted to start it is gone
            return self._digest, LOST
        if not ray.wait([self._task], timeout=0)[0]:
            return self._digest, None
        try:
            return self._digest, self.collect().code
        except ray.exceptions.RayError:
            return self._digest, LOST

    def report(self, text: bytes) -> int:
        """Takes a part of the log; returns how often the training has been interrupted."""
        with self._lock:
            self._has_begun = True
            self._log += text
            excess = max(0, len(self._log) - MAX_LOG_BYTES)
            self._log, self._dropped = self._log[excess:], self._dropped + excess
            return self._interrupts

    def read(self, start: int) -> Progress:
        """The log from a place on, as far as it is kept."""
        import ray

        ended = bool(ray.wait([self._task], timeout=0)[0])  # before the log, which is then whole
        with self._lock:
            end = self._dropped + len(self._log)
            text = self._log[max(0, start - self._dropped) :]
            return Progress(text, end, self._has_begun, ended)

    def is_cancelled(self) -> bool:
        """Whether the training was interrupted before it began."""
        return self._cancelled

    def deliver(self, outcome: Finished) -> None:
        """Takes what came of a training by several workers; the first one counts."""
        with self._lock:
            self._outcome = self._outcome or outcome

    def take_outcome(self) -> Finished | None:
        """What was delivered."""
        return self._outcome

    def interrupt(self) -> None:
        """As Ctrl-C at the training's terminal; one that has not begun is cancelled."""
        import ray

        with self._lock:
            self._interrupts += 1
        if not self._has_begun:
            self._cancelled = True
            # What several workers wait for is free again when the command has disconnected.
            ray.cancel(self._task, force=True)

    def collect(self) -> Finished:
        """What came of the training, once it has ended. Raises what Ray raises if it was lost."""
        import ray

        try:
            finished: Finished = ray.get(self._task)
        except ray.exceptions.RayError:
            if not self._cancelled:
                raise
            return Finished(INTERRUPTED)
        return finished
