"""Starts workers, replaces those that die or hang, and keeps what they do together.

Workers are forked, and accept from one listening socket, so that a connection that waits is lost
with none of them. The supervisor opens no model and answers no request; it imports next to nothing,
so that it is small and has no thread that a fork could break.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec

from modelpad.server.lifecycle.overrides import Overrides
from modelpad.server.observability.metrics import RESTARTS, Metrics, Snapshot
from modelpad.server.workers import messages
from modelpad.server.workers.memory import MemoryWatch, Verdict, WorkerMemory
from modelpad.server.workers.worker import PART, Worker

log = logging.getLogger("modelpad.server")

TICK_S = 0.5
PING_S = 5.0
HUNG_S = 30.0  # of pings without an answer
COLLECT_S = 0.5
LOOK_S = 30.0  # for a worker to read the store
RETRY_S = 60.0  # until a plan that could not be followed whole is tried again
WEIGH_S = 1.0 if sys.platform == "linux" else 5.0  # elsewhere it takes a process to ask
STEADY_S = 5.0  # a worker that lived as long is replaced at once
LONGEST_DELAY_S = 30.0
KILL_S = 5.0  # after the grace
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Forked(BaseException):
    """This process is a worker now; unwinds the supervisor's frames."""

    def __init__(self, line: socket.socket) -> None:
        super().__init__()
        self.line = line


@dataclass(slots=True)
class Collecting:
    """A worker that asked what the others counted, and those who have not told yet."""

    asker: Worker
    silent: set[int]
    until: float


@dataclass(slots=True)
class Ordering:
    """An order that workers carry out, who gave it, and the number that it has there."""

    number: int
    asker: Worker
    asked: messages.Command
    silent: set[int]
    done: messages.CommandResult

    @property
    def order(self) -> messages.Command:
        """What workers are told."""
        return messages.Command(self.number, self.asked.action, self.asked.name)


@dataclass(slots=True)
class Change:
    """A plan that workers prepare.

    `have` is what all who are done have open; `whole` when it is all that the plan wants.
    """

    number: int
    name: str
    plan: bytes
    silent: set[int] = field(default_factory=set)
    members: list[Worker] = field(default_factory=list)
    have: set[int] | None = None
    whole: bool = True


class Supervisor:
    """Keeps `count` workers running `work`; 0 leaves it to the first one to say how many.

    `work` is given the worker's end of the line and how many there are, and answers its exit code.
    `follow_s` is how often one of them is asked what the store wants, 0 for never. What it wants is
    prepared by all, and then served by all at once. `overrides` are what was decided since: a
    worker that is forked later begins with them. `listener` is what they accept from: it is closed
    here when all stop, as nobody else would refuse who comes then. One that stays near its limit of
    memory is replaced.
    """

    def __init__(
        self,
        count: int,
        work: Callable[[socket.socket, int], int],
        *,
        shutdown_timeout_s: float = 10.0,
        follow_s: float = 0.0,
        overrides: Overrides | None = None,
        listener: socket.socket | None = None,
        memory: WorkerMemory | None = None,
    ) -> None:
        if not hasattr(os, "fork"):
            raise NotImplementedError("several workers need a system that can fork")
        self.count = count
        self.work = work
        self.shutdown_timeout_s = shutdown_timeout_s
        self.follow_s = follow_s
        self.overrides = overrides or Overrides()
        self.memory = memory or WorkerMemory(0)
        self._watch = MemoryWatch()
        self._listener = listener
        self._workers: list[Worker] = []
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        self._announced = False
        self._retired = Metrics("")
        self._restarts = 0
        self._start_at = 0.0
        self._delay_s = 0.0
        self._pinged = self._looked = self._weighed = 0.0
        self._looking = False
        self._collecting: list[Collecting] = []
        self._applied: dict[str, bytes] = {}
        self._retry: dict[str, float] = {}
        self._changes: list[Change] = []
        self._orderings: list[Ordering] = []
        self._number = 0

    def run(self) -> int:
        """Runs until it is told to stop; answers the exit code.

        In a worker it answers what `work` answers, and raises what that raises.
        """
        gc.collect()
        gc.freeze()  # what is here already stays shared with the workers
        try:
            with self._hear_signals():
                return self._live()
        except Forked as forked:
            line = forked.line
        return self.work(line, self.count)

    def _live(self) -> int:
        self._start()
        while self._workers or not self._stopping:
            for key, _ in self._selector.select(min(TICK_S, self.follow_s or TICK_S)):
                if isinstance(key.data, Worker):
                    self._hear(key.data)
                else:
                    with contextlib.suppress(BlockingIOError):
                        key.fileobj.recv(PART)  # type: ignore[union-attr]
            code = self._bury()
            if code is not None:
                return code
            now = time.monotonic()
            if self._stopping:
                if self._listener is not None:
                    self._listener.close()
                self._dismiss(self._workers, now)
            else:
                self._keep_count(now)
                self._ping(now)
                self._weigh(now)
                self._look(now)
            self._kill_late(now)
            self._finish_collecting(now)
            self._finish_orders()
            self._prepare_next()
            for worker in self._workers:
                worker.flush()
        return 0

    # Workers come and go.

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal between the fork and the worker's own handlers must not count as the parent's.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for kind in (*STOP_SIGNALS, signal.SIGCHLD):
                signal.signal(kind, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
            self._selector.close()
            ours.close()
            for other in self._workers:
                other.connection.close()
            raise Forked(theirs)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        theirs.close()
        worker = Worker(pid, ours, time.monotonic())
        for ordering in self._orderings:
            worker.send(ordering.order)
        self._workers.append(worker)
        self._selector.register(ours, selectors.EVENT_READ, worker)

    def _bury(self) -> int | None:
        """Takes leave of workers that have ended; answers the code of one that could not begin."""
        for worker in list(self._workers):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if not pid:
                continue
            self._hear(worker)
            self._workers.remove(worker)
            self._leave_line(worker)
            worker.connection.close()
            self._retired.add(worker.counts)
            self._forget(worker)
            if self._stopping or worker.leave_by:
                continue
            code = os.waitstatus_to_exitcode(status)
            if not self._announced and not self._workers and not worker.ready_at:
                return code if code > 0 else 1
            self._replace(worker, code)
        return None

    def _replace(self, worker: Worker, code: int) -> None:
        lived_s = time.monotonic() - worker.ready_at if worker.ready_at else 0.0
        if lived_s > STEADY_S:
            self._delay_s = 0.0
        self._start_at = time.monotonic() + self._delay_s
        self._restarts += 1
        words = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        after = f" in {self._delay_s:g} s" if self._delay_s else ""
        log.error("worker %d died (%s); another is started%s", worker.pid, words, after)
        self._delay_s = min(LONGEST_DELAY_S, max(1.0, self._delay_s * 2))

    def _keep_count(self, now: float) -> None:
        there = [worker for worker in self._workers if not worker.leave_by]
        first = not self._announced and not any(worker.ready_at for worker in there)
        wanted = 1 if first else self.count  # the first one shows whether all is well
        if now >= self._start_at:
            for _ in range(wanted - len(there)):
                self._start()

    def _dismiss(self, workers: list[Worker], now: float) -> None:
        for worker in workers:
            if not worker.leave_by:
                worker.leave_by = now + self.shutdown_timeout_s + KILL_S
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGTERM)

    def _kill_late(self, now: float) -> None:
        for worker in self._workers:
            hung = worker.serves and worker.unanswered * PING_S > HUNG_S
            if hung:
                log.error("worker %d does not answer", worker.pid)
            if hung or (worker.leave_by and now > worker.leave_by):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGKILL)

    def _weigh(self, now: float) -> None:
        """Replaces workers whose memory has grown to their limit and does not shrink again."""
        limit = self.memory.limit(self.count) if self.count else 0
        if not limit or now - self._weighed < WEIGH_S:
            return
        self._weighed = now
        there = {worker.pid: worker for worker in self._workers if worker.ready_at}
        sizes = self.memory.weigh(there)
        for pid, verdict in self._watch.judge(sizes, limit).items():
            worker, size = there[pid], sizes[pid] >> 20
            if verdict is Verdict.KILL:
                log.error("worker %d takes %d MB of %d MB: killed", pid, size, limit >> 20)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            elif verdict is Verdict.REPLACE and worker.serves:
                log.error("worker %d takes %d MB of %d MB: replaced", pid, size, limit >> 20)
                self._retire(worker)

    def _retire(self, worker: Worker) -> None:
        """Lets a worker finish what it has begun; another is started in its place."""
        self._restarts += 1
        self._dismiss([worker], time.monotonic())
        self._forget(worker)

    def _ping(self, now: float) -> None:
        if now - self._pinged > PING_S:
            self._pinged = now
            for worker in self._serving():
                worker.send(messages.Ping())
                worker.unanswered += 1

    # What they say.

    def _hear(self, worker: Worker) -> None:
        for line in worker.receive():
            message = messages.read_from_worker(line)
            match message:
                case messages.Ready():
                    self.count = message.workers
                    self.overrides.versions.update(message.live | self.overrides.versions)
                    self._welcome(worker)
                case messages.Pong():
                    worker.unanswered = 0
                case messages.Counted():
                    worker.counts = message.snapshot
                    for collecting in self._collecting:
                        collecting.silent.discard(worker.pid)
                case messages.Collect():
                    worker.counts = message.snapshot
                    self._collect(worker)
                case messages.Plans():
                    self._looking = False
                    self._compare(message.plans)
                case messages.Prepared():
                    self._note_prepared(worker, message)
                case messages.Command():
                    self._pass_on(worker, message)
                case messages.CommandResult():
                    self._note_result(worker, message)
                case messages.Stuck():
                    if worker.serves:
                        log.error("worker %d hangs: %s", worker.pid, message.reason)
                        self._retire(worker)
        if worker.silent:
            self._leave_line(worker)

    def _leave_line(self, worker: Worker) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(worker.connection)

    def _welcome(self, worker: Worker) -> None:
        worker.ready_at = time.monotonic()
        self._applied.clear()  # it may have read an older plan than the others follow
        if not self._announced and len(self._serving()) == self.count:
            self._announced = True
            self._workers[0].send(messages.Announce())

    def _serving(self) -> list[Worker]:
        return [worker for worker in self._workers if worker.serves]

    def _forget(self, worker: Worker) -> None:
        """Nobody waits for it any more."""
        for collecting in self._collecting:
            collecting.silent.discard(worker.pid)
        for change in self._changes:
            change.silent.discard(worker.pid)
        for ordering in self._orderings:
            ordering.silent.discard(worker.pid)
        self._looking = False

    # Counts.

    def _collect(self, asker: Worker) -> None:
        others = [worker for worker in self._serving() if worker is not asker]
        for worker in others:
            worker.send(messages.Tell())
        silent = {worker.pid for worker in others}
        self._collecting.append(Collecting(asker, silent, time.monotonic() + COLLECT_S))

    def _finish_collecting(self, now: float) -> None:
        for collecting in list(self._collecting):
            if collecting.silent and now < collecting.until:
                continue
            self._collecting.remove(collecting)
            others = [w.counts for w in self._serving() if w is not collecting.asker]
            gone = Metrics("")
            for worker in self._workers:
                if worker.leave_by and worker is not collecting.asker:
                    gone.add(worker.counts)
            own = Snapshot(counters={RESTARTS: [((), self._restarts)]} if self._restarts else {})
            told = [*others, gone.take(), self._retired.take(), own]
            collecting.asker.send(messages.Collected(told))

    # Changes of what is served.

    def _look(self, now: float) -> None:
        """Asks one worker what the store wants."""
        waits = self._looking and now - self._looked < LOOK_S
        serving = self._serving()
        due = now - self._looked >= self.follow_s
        if self.follow_s and due and serving and not waits and not self._changes:
            self._looked, self._looking = now, True
            serving[0].send(messages.Look())

    def _compare(self, plans: dict[str, msgspec.Raw]) -> None:
        now = time.monotonic()
        for name, raw in plans.items():
            plan = bytes(raw)
            retry = self._retry.get(name, now + 1) <= now
            if self._applied.get(name) != plan or retry:
                self._number += 1
                self._changes.append(Change(self._number, name, plan))

    def _prepare_next(self) -> None:
        """Brings the first change on: one is made after the other."""
        while self._changes:
            change = self._changes[0]
            if not change.members:
                change.members = self._serving()
                change.silent = {worker.pid for worker in change.members}
                for worker in change.members:
                    worker.send(
                        messages.Prepare(change.number, change.name, msgspec.Raw(change.plan))
                    )
            if change.silent:
                return
            self._changes.pop(0)
            self._apply(change)

    def _note_prepared(self, worker: Worker, said: messages.Prepared) -> None:
        change = self._changes[0] if self._changes else None
        if change is None or change.number != said.change:
            return
        versions = set(said.versions)
        change.have = versions if change.have is None else change.have & versions
        change.whole = change.whole and said.whole
        change.silent.discard(worker.pid)

    def _apply(self, change: Change) -> None:
        versions = sorted(change.have or ())
        plan = msgspec.Raw(change.plan)
        for worker in change.members:
            if worker.serves:
                worker.send(messages.Apply(change.name, plan, versions))
        live = messages.read_goal(change.plan).default_version
        if live in versions:
            self.overrides.versions[change.name] = live
        if all(worker in change.members for worker in self._serving()):
            self._applied[change.name] = change.plan  # else it is made again, by the new one too
        if change.whole:
            self._retry.pop(change.name, None)
        else:
            self._retry[change.name] = time.monotonic() + RETRY_S

    # Overrides of admins.

    def _pass_on(self, asker: Worker, asked: messages.Command) -> None:
        self._number += 1
        silent = {worker.pid for worker in self._serving()}
        done = messages.CommandResult(asked.number)
        ordering = Ordering(self._number, asker, asked, silent, done)
        self._orderings.append(ordering)
        for worker in self._workers:  # one that is only starting, too
            worker.send(ordering.order)

    def _note_result(self, worker: Worker, said: messages.CommandResult) -> None:
        for ordering in self._orderings:
            if ordering.number == said.number and worker.pid in ordering.silent:
                ordering.silent.discard(worker.pid)
                if said.kind:
                    ordering.done = messages.CommandResult(
                        ordering.asked.number, said.kind, said.words
                    )

    def _finish_orders(self) -> None:
        for ordering in [each for each in self._orderings if not each.silent]:
            self._orderings.remove(ordering)
            if not ordering.done.kind:
                self.overrides.note(ordering.asked.action, ordering.asked.name)
                self._applied.pop(ordering.asked.name, None)
            ordering.asker.send(ordering.done)

    # Signals.

    @contextlib.contextmanager
    def _hear_signals(self) -> Iterator[None]:
        awake, wake = socket.socketpair()
        awake.setblocking(False)
        wake.setblocking(False)
        self._selector.register(awake, selectors.EVENT_READ, None)

        def stop(*_: object) -> None:
            self._stopping = True

        before = {kind: signal.signal(kind, stop) for kind in STOP_SIGNALS}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        last = signal.set_wakeup_fd(wake.fileno())
        supervisor = os.getpid()
        try:
            yield
        finally:
            if os.getpid() == supervisor:
                signal.set_wakeup_fd(last)
                for kind, handler in before.items():
                    signal.signal(kind, handler)
            awake.close()
            wake.close()
