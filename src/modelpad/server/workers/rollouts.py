"""New versions in the store reach all workers together.

One worker reads the store. Each model whose desired state has changed becomes a rollout: every
worker loads the versions, and only when all have done so do they serve them, so that two requests
to two workers never get an older version after a newer one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import msgspec

from modelpad.server.workers.actions import Action, Send
from modelpad.server.workers.messages import (
    DesiredStates,
    PrepareVersions,
    RequestDesiredStates,
    ServeVersions,
    VersionsPrepared,
    read_default_version,
)

READ_TIMEOUT_S = 30.0  # for a worker to read the store, before another one is tried
RETRY_S = 60.0  # until a state with a version that failed to load is retried


@dataclass(slots=True)
class Rollout:
    """A desired state on its way to the workers.

    `members` take part (None before it starts) and `pending` of them are still loading; `loaded`
    are the versions that all others have; `complete` while none has missed a version.
    """

    number: int
    name: str
    state: bytes
    members: frozenset[int] | None = None
    pending: frozenset[int] = frozenset()
    loaded: frozenset[int] | None = None
    complete: bool = True


class Rollouts:
    """The queue of rollouts; `versions` are the default versions after them.

    The store is read every `poll_interval_s`, never for 0.
    """

    def __init__(self, poll_interval_s: float, versions: dict[str, int]) -> None:
        self.poll_interval_s = poll_interval_s
        self._versions = versions
        self._polled_at = 0.0
        self._polling = False
        self._passed = 0  # workers that have not read the store in time
        self._served: dict[str, bytes] = {}
        self._retry_at: dict[str, float] = {}
        self._queue: list[Rollout] = []
        self._last_number = 0

    def poll(self, serving: Sequence[int], now: float) -> list[Action]:
        """Requests one worker to read the store, if due and no rollout is in progress."""
        elapsed_s = now - self._polled_at
        wait_s = max(self.poll_interval_s, READ_TIMEOUT_S if self._polling else 0.0)
        if not (self.poll_interval_s and serving) or elapsed_s < wait_s or self._queue:
            return []
        self._passed += self._polling
        self._polled_at, self._polling = now, True
        return [Send(serving[self._passed % len(serving)], RequestDesiredStates())]

    def compare(self, desired: DesiredStates, now: float) -> None:
        """Queues a rollout for each model whose desired state is not served yet."""
        self._polling = False
        for name, raw in desired.states.items():
            state = bytes(raw)
            retry = name in self._retry_at and self._retry_at[name] <= now
            if self._served.get(name) != state or retry:
                self._last_number += 1
                self._queue.append(Rollout(self._last_number, name, state))

    def record_prepared(self, pid: int, prepared: VersionsPrepared) -> None:
        """Records which versions a worker has loaded."""
        rollout = self._queue[0] if self._queue else None
        if rollout is None or rollout.number != prepared.rollout or pid not in rollout.pending:
            return
        versions = frozenset(prepared.versions)
        rollout.loaded = versions if rollout.loaded is None else rollout.loaded & versions
        rollout.complete = rollout.complete and prepared.complete
        rollout.pending -= {pid}

    def add_worker(self) -> None:
        """Makes every state roll out again: a new worker may have read the store before it."""
        self._served.clear()

    def remove_worker(self, pid: int) -> None:
        """Stops waiting for a worker."""
        self._polling = False
        for rollout in self._queue:
            rollout.pending -= {pid}
            if rollout.members is not None:
                rollout.members -= {pid}

    def forget(self, name: str) -> None:
        """Makes a model's state roll out again, as a command has changed what is served."""
        self._served.pop(name, None)

    def advance(self, serving: Collection[int], now: float) -> list[Action]:
        """Starts the first rollout, or finishes it when every member has loaded its versions."""
        actions: list[Action] = []
        while self._queue:
            rollout = self._queue[0]
            if rollout.members is None:
                rollout.members = rollout.pending = frozenset(serving)
                state = msgspec.Raw(rollout.state)
                prepare = PrepareVersions(rollout.number, rollout.name, state)
                actions += [Send(pid, prepare) for pid in serving]
            if rollout.pending:
                break
            del self._queue[0]
            actions += self._serve(rollout, rollout.members, serving, now)
        return actions

    def _serve(
        self, rollout: Rollout, members: frozenset[int], serving: Collection[int], now: float
    ) -> list[Action]:
        versions = sorted(rollout.loaded or ())
        live = read_default_version(rollout.state)
        if live in versions:
            self._versions[rollout.name] = live
        if members.issuperset(serving):
            self._served[rollout.name] = rollout.state
        # Else a worker has become ready since, and the next poll starts the rollout again for it.
        if rollout.complete:
            self._retry_at.pop(rollout.name, None)
        else:
            self._retry_at[rollout.name] = now + RETRY_S
        message = ServeVersions(rollout.name, msgspec.Raw(rollout.state), versions)
        return [Send(pid, message) for pid in serving if pid in members]
