"""Decides which workers to run and which commands to send them: a state machine without I/O.

Each event (a message, an exit, a tick of the clock) changes the state and returns the actions that
the supervisor takes. Time is an argument, from one monotonic clock, in seconds.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from modelpad.server.lifecycle.overrides import Overrides
from modelpad.server.workers import messages
from modelpad.server.workers.actions import (
    Action,
    CloseListener,
    Exit,
    Fork,
    Kill,
    LogError,
    MeasureMemory,
    Send,
    Terminate,
)
from modelpad.server.workers.collection import MetricsCollection
from modelpad.server.workers.commands import PendingCommands
from modelpad.server.workers.memory import MemoryWatch, Verdict
from modelpad.server.workers.restarts import RestartBackoff
from modelpad.server.workers.rollouts import Rollouts

PING_S = 5.0
HUNG_S = 30.0  # of unanswered pings: the worker is killed
MEASURE_S = 1.0 if sys.platform == "linux" else 5.0  # elsewhere each measurement starts a process
KILL_S = 5.0  # after the graceful shutdown timeout


@dataclass(slots=True)
class Worker:
    """One worker process.

    `unanswered_pings` are counted, not timed: seconds also pass while the whole machine is paused.
    """

    pid: int
    ready_at: float | None = None
    kill_at: float | None = None  # stop requested: it is killed at this time
    killed: bool = False
    unanswered_pings: int = 0

    @property
    def is_leaving(self) -> bool:
        """Whether its stop was requested."""
        return self.kill_at is not None

    @property
    def is_serving(self) -> bool:
        """Whether it accepts requests."""
        return self.ready_at is not None and not self.is_leaving


class Fleet:
    """Keeps `count` workers running; 0 lets the first worker decide.

    The first worker starts alone: when it fails, the server does not start, and the error is
    reported once. `overrides` are the changes since the start, for workers forked later.
    """

    def __init__(
        self,
        count: int,
        *,
        shutdown_timeout_s: float = 10.0,
        poll_interval_s: float = 0.0,
        overrides: Overrides | None = None,
    ) -> None:
        self.count = count
        self.overrides = overrides or Overrides()
        self._shutdown_timeout_s = shutdown_timeout_s
        self._workers: dict[int, Worker] = {}
        self._announced = False
        self._stopping = False
        self._listening = True
        self._pinged_at = self._measured_at = 0.0
        self._backoff = RestartBackoff()
        self._memory = MemoryWatch()
        self._metrics = MetricsCollection()
        self._commands = PendingCommands()
        self._rollouts = Rollouts(poll_interval_s, self.overrides.versions)

    # Events.

    def stop(self) -> None:
        """Shutdown was requested; the next tick begins it."""
        self._stopping = True

    def worker_started(self, pid: int) -> list[Action]:
        """A worker was forked."""
        self._workers[pid] = Worker(pid)
        return self._commands.send_to_new(pid)

    def start_failed(self, reason: str, now: float) -> list[Action]:
        """A worker could not be forked."""
        delay_s = self._backoff.schedule(0.0, now)
        return [LogError(f"cannot start a worker: {reason}; trying again {_when(delay_s)}")]

    def worker_exited(self, pid: int, exit_code: int, now: float) -> list[Action]:
        """A worker has exited; `exit_code` is negative for the signal that killed it."""
        worker = self._workers.pop(pid)
        self._metrics.remove_worker(pid)
        self._stop_waiting_for(pid)
        if self._stopping or worker.is_leaving:
            return []
        if not self._announced and not self._workers and worker.ready_at is None:
            return [Exit(max(exit_code, 0) or 1)]
        served_s = 0.0 if worker.ready_at is None else now - worker.ready_at
        delay_s = self._backoff.schedule(served_s, now)
        self._metrics.restarts += 1
        cause = signal.Signals(-exit_code).name if exit_code < 0 else f"exit code {exit_code}"
        return [LogError(f"worker {pid} died ({cause}); starting another {_when(delay_s)}")]

    def message_received(self, pid: int, message: messages.FromWorker, now: float) -> list[Action]:
        """A worker sent a message."""
        worker = self._workers[pid]
        match message:
            case messages.Ready():
                return self._add_ready(worker, message, now)
            case messages.Pong():
                worker.unanswered_pings = 0
            case messages.Stalled():
                if worker.is_serving:
                    return self._replace(worker, f"worker {pid} hangs: {message.reason}", now)
            case messages.MetricsSnapshot():
                self._metrics.record(pid, message.snapshot)
            case messages.CollectMetrics():
                self._metrics.record(pid, message.snapshot)
                return self._metrics.start(pid, self._serving(), now)
            case messages.DesiredStates():
                self._rollouts.compare(message, now)
            case messages.VersionsPrepared():
                self._rollouts.record_prepared(pid, message)
            case messages.Command():
                return self._commands.add(pid, message, self._serving(), self._workers)
            case messages.CommandResult():
                self._commands.record_result(pid, message)
        return []

    def memory_measured(
        self, sizes: Mapping[int, int], limit_bytes: int, now: float
    ) -> list[Action]:
        """The memory that workers use, and the limit of each."""
        actions: list[Action] = []
        for pid, verdict in self._memory.judge(dict(sizes), limit_bytes).items():
            worker = self._workers[pid]
            usage = f"worker {pid} uses {sizes[pid] >> 20} MB of {limit_bytes >> 20} MB"
            if verdict is Verdict.KILL:
                actions += self._kill(worker, f"{usage}: killed")
            elif verdict is Verdict.REPLACE and worker.is_serving:
                actions += self._replace(worker, f"{usage}: replaced", now)
        return actions

    def tick(self, now: float) -> list[Action]:
        """Time has passed, or other events were handled."""
        actions: list[Action] = []
        if self._stopping:
            actions += self._shut_down(now)
        else:
            actions += self._fork_missing(now)
            actions += self._ping(now)
            actions += self._measure(now)
            actions += self._rollouts.poll(self._serving(), now)
        actions += self._kill_overdue(now)
        actions += self._metrics.finish(self._serving(), self._leaving(), now)
        actions += self._finish_commands()
        actions += self._rollouts.advance(self._serving(), now)
        return actions

    # Workers start and exit.

    def _fork_missing(self, now: float) -> list[Action]:
        staying = [each for each in self._workers.values() if not each.is_leaving]
        proven = self._announced or any(each.is_serving for each in staying)
        missing = (self.count if proven else 1) - len(staying)
        return [Fork()] * missing if self._backoff.may_start(now) else []

    def _add_ready(self, worker: Worker, ready: messages.Ready, now: float) -> list[Action]:
        self.count = ready.workers
        for name, version in ready.versions.items():
            self.overrides.versions.setdefault(name, version)
        worker.ready_at = now
        self._rollouts.add_worker()
        if self._announced or len(self._serving()) < self.count:
            return []
        self._announced = True
        return [Send(next(iter(self._workers)), messages.AnnounceReady())]

    def _replace(self, worker: Worker, reason: str, now: float) -> list[Action]:
        """Lets a worker finish its requests; the next tick starts another in its place."""
        self._metrics.restarts += 1
        self._stop_waiting_for(worker.pid)
        return [LogError(reason), *self._terminate([worker], now)]

    def _terminate(self, workers: Iterable[Worker], now: float) -> list[Action]:
        actions: list[Action] = []
        for worker in workers:
            if not worker.is_leaving:
                worker.kill_at = now + self._shutdown_timeout_s + KILL_S
                actions.append(Terminate(worker.pid))
        return actions

    def _kill(self, worker: Worker, reason: str) -> list[Action]:
        if worker.killed:
            return []
        worker.killed = True
        return [LogError(reason), Kill(worker.pid)]

    def _kill_overdue(self, now: float) -> list[Action]:
        actions: list[Action] = []
        for worker in self._workers.values():
            if worker.is_serving and worker.unanswered_pings * PING_S > HUNG_S:
                actions += self._kill(worker, f"worker {worker.pid} does not respond: killed")
            elif worker.kill_at is not None and now > worker.kill_at:
                actions += self._kill(worker, f"worker {worker.pid} did not stop in time: killed")
        return actions

    def _shut_down(self, now: float) -> list[Action]:
        if not self._workers:
            return [Exit(0)]
        actions: list[Action] = [CloseListener()] if self._listening else []
        self._listening = False
        return actions + self._terminate(self._workers.values(), now)

    def _stop_waiting_for(self, pid: int) -> None:
        self._metrics.stop_waiting_for(pid)
        self._commands.remove_worker(pid)
        self._rollouts.remove_worker(pid)

    def _serving(self) -> list[int]:
        return [pid for pid, worker in self._workers.items() if worker.is_serving]

    def _leaving(self) -> list[int]:
        return [pid for pid, worker in self._workers.items() if worker.is_leaving]

    # Steps of every tick.

    def _ping(self, now: float) -> list[Action]:
        if now - self._pinged_at <= PING_S:
            return []
        self._pinged_at = now
        serving = self._serving()
        for pid in serving:
            self._workers[pid].unanswered_pings += 1
        return [Send(pid, messages.Ping()) for pid in serving]

    def _measure(self, now: float) -> list[Action]:
        if not self.count or now - self._measured_at < MEASURE_S:
            return []
        self._measured_at = now
        ready = (pid for pid, worker in self._workers.items() if worker.ready_at is not None)
        return [MeasureMemory(frozenset(ready), self.count)]

    def _finish_commands(self) -> list[Action]:
        actions: list[Action] = []
        for pending in self._commands.take_finished():
            if not pending.result.error:
                self.overrides.note(pending.command.action, pending.command.name)
                self._rollouts.forget(pending.command.name)
            actions.append(Send(pending.asker, pending.result))
        return actions


def _when(delay_s: float) -> str:
    return f"in {delay_s:g} s" if delay_s else "now"
