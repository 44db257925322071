"""Runs the texts of many callers on one model: a bounded queue, and a thread that steps.

Requests come from one event loop, and what their texts have become returns to it once a step.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from modelpad.engine.batcher import CLOSING, QueueLimits
from modelpad.engine.draining import Holds
from modelpad.engine.expected import Expected
from modelpad.engine.request import CALLER
from modelpad.engine.running import BatchRecord
from modelpad.engine.session import Run
from modelpad.engine.text.jobs import Emitted, TextJob
from modelpad.engine.text.session import TextSession
from modelpad.engine.text.stepper import Stepper, StepRecord
from modelpad.errors import DeadlineExceeded, ModelpadError, NotReady, Overloaded, TooLarge

log = logging.getLogger("modelpad.engine")

MAX_RECORDS = 32  # of steps without news for a client, before their metrics are counted
SWEEP_S = 0.1  # between checks for expired requests
STOP_S = 0.2  # for a run to end after its stop was requested


@dataclass(frozen=True, slots=True)
class TextLimits:
    """At most `texts` advance together; more wait. All requests may need `tokens` at most."""

    texts: int = 64
    tokens: int = 1_000_000

    def __post_init__(self) -> None:
        if self.texts < 1 or self.tokens < 1:
            raise ValueError("texts and tokens must be at least 1")


class Inbox:
    """What a job has emitted and its caller has not taken."""

    __slots__ = ("_items", "_waiter")

    def __init__(self) -> None:
        self._items: list[Emitted | ModelpadError] = []
        self._waiter: asyncio.Future[None] | None = None

    def deliver(self, item: Emitted | ModelpadError) -> None:
        """Hands an item to the caller."""
        self._items.append(item)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def take(self) -> list[Emitted | ModelpadError]:
        """Waits for items, and returns all that have come."""
        while not self._items:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        items, self._items = self._items, []
        return items


class TextRequest:
    """One caller's request: its job, and the inbox that the job emits to.

    The job knows the inbox and not the request: in a cycle, its states would stay in memory until
    the next full garbage collection, which a server rarely makes.
    """

    __slots__ = ("arrived", "caller", "held", "inbox", "job", "rows")

    def __init__(self, job: TextJob, held: int, inbox: Inbox) -> None:
        self.job = job
        self.held = held
        self.inbox = inbox
        self.rows = job.rows
        self.caller = CALLER.get()
        self.arrived = time.monotonic()


class TextEngine:
    """Runs one model's texts. `observe` is called on the event loop's thread after each step."""

    def __init__(
        self,
        session: TextSession,
        limits: QueueLimits | None = None,
        texts: TextLimits | None = None,
    ) -> None:
        self.session = session
        self.limits = limits or QueueLimits()
        self.texts = texts or TextLimits()
        self.observe: Callable[[BatchRecord], None] | None = None
        self.observe_step: Callable[[StepRecord], None] | None = None
        self.expected = Expected()
        self._queue: list[TextRequest] = []
        self._unfinished: dict[int, TextRequest] = {}
        self._held_tokens = 0
        self._holds = Holds()
        self._wake = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweeping = False
        self._closed = False
        self._stepper: Stepper | None = None
        self._begun: float | None = None  # when the current step did
        self._run: Run | None = None
        self._events: list[tuple[Inbox, Emitted | ModelpadError]] = []
        self._thread = threading.Thread(
            target=self._run_thread, name="modelpad-text-engine", daemon=True
        )
        self._thread.start()

    @property
    def waiting(self) -> int:
        """The number of texts that wait or advance."""
        return sum(request.rows for request in self._unfinished.values())

    @property
    def is_full(self) -> bool:
        """Whether another request would be rejected."""
        return self.waiting + self.expected.count >= self.limits.max_length

    @property
    def is_stuck(self) -> bool:
        """Whether a step has taken more than twice the time-out, although it was told to stop."""
        begun = self._begun
        return begun is not None and begun < time.monotonic() - 2 * self.limits.timeout_s

    def check_free(self, rows: int = 1, tokens: int = 0) -> None:
        """Raises `Overloaded` if there is no room for so many texts, or tokens in all of them.

        Raises `TooLarge` if there never is.
        """
        if rows > self.limits.max_length:
            raise TooLarge(
                f"The request needs {rows:,} texts; the limit is {self.limits.max_length:,}.",
                hint="Ask for fewer texts.",
                field="n",
                limit=self.limits.max_length,
                got=rows,
            )
        if tokens > self.texts.tokens:
            raise TooLarge(
                f"The request needs {tokens:,} tokens in all; the limit is {self.texts.tokens:,}.",
                hint="Ask for fewer tokens or fewer texts.",
                field="max_tokens",
                limit=self.texts.tokens,
                got=tokens,
            )
        waiting = self.waiting + self.expected.count
        if (
            waiting + rows > self.limits.max_length
            or self._held_tokens + tokens > self.texts.tokens
        ):
            raise Overloaded(
                f"The queue is full: {waiting} texts.",
                hint="Try again in a second.",
                retry_after_s=1,
            )

    async def submit(
        self, make: Callable[[Callable[[Emitted | ModelpadError], None]], TextJob], held: int
    ) -> AsyncGenerator[Emitted, None]:
        """Runs a job and yields what it emits; `held` is how many tokens it may need.

        `make` makes it for a function to emit with. Whoever stops iterating ends the job.

        Raises:
            Overloaded, TooLarge: there is no room for it.
            DeadlineExceeded: it has not advanced for the time-out.
            NotReady: the engine is closed.
            ModelFailed: the graph failed.
        """
        request = self._enqueue(make, held)
        left = request.rows
        try:
            while left:
                for item in await request.inbox.take():
                    if isinstance(item, ModelpadError):
                        raise item
                    left -= getattr(item, "finish_reason", "") is not None
                    yield item
        finally:
            self._forget(request)

    def _enqueue(
        self, make: Callable[[Callable[[Emitted | ModelpadError], None]], TextJob], held: int
    ) -> TextRequest:
        if self._closed:
            raise NotReady(CLOSING, hint="Try again in a second.")
        loop = self._loop = asyncio.get_running_loop()
        inbox = Inbox()
        job = make(lambda item: self._events.append((inbox, item)))
        self.check_free(job.rows, held)
        request = TextRequest(job, held, inbox)
        job.arrived = job.advanced = request.arrived
        self._unfinished[id(request)] = request
        self._held_tokens += held
        with self._wake:
            self._queue.append(request)
        loop.call_soon(self._notify)
        if not self._sweeping:
            self._sweeping = True
            loop.call_later(SWEEP_S, self._sweep)
        return request

    def _notify(self) -> None:
        """Wakes the thread, after all requests that came at once: they are read together."""
        with self._wake:
            self._wake.notify()

    def _forget(self, request: TextRequest) -> None:
        """Ends a request: its job stops with the next step."""
        if self._unfinished.pop(id(request), None) is not None:
            self._held_tokens -= request.held
        request.job.cancelled = True
        with self._wake:
            if request in self._queue:
                self._queue.remove(request)

    def _sweep(self) -> None:
        """Fails the requests that have not advanced for too long, and stops a step that hangs."""
        assert self._loop is not None
        self._sweeping = False
        now = time.monotonic()
        for request in list(self._unfinished.values()):
            if request.job.advanced + self.limits.timeout_s <= now:
                request.job.advanced = now
                request.inbox.deliver(
                    DeadlineExceeded(
                        f"The text has not advanced for {self.limits.timeout_s:g} s.",
                        hint="Try again, or raise --timeout.",
                        timeout_s=self.limits.timeout_s,
                    )
                )
        begun, run = self._begun, self._run
        if begun is not None and run is not None and begun + self.limits.timeout_s <= now:
            log.warning("%s: stopping a step that hangs", self.session.title)
            run.stop()
        if self._unfinished or self._begun is not None:
            self._loop.call_later(SWEEP_S, self._sweep)
            self._sweeping = True

    # The engine's thread.

    def _run_thread(self) -> None:
        records: list[StepRecord] = []
        while True:
            with self._wake:
                while not self._closed and not self._queue and not self._has_jobs():
                    self._wake.wait()
                if self._closed:
                    return
                waiting = [*self._queue]
            records.append(self._step(waiting))
            if self._events or len(records) >= MAX_RECORDS or not self._has_jobs():
                events, self._events = self._events, []
                self._send(events, records)
                records = []

    def _has_jobs(self) -> bool:
        return self._stepper is not None and bool(self._stepper.jobs)

    def _step(self, waiting: list[TextRequest]) -> StepRecord:
        """Lets texts join, and makes a step. A failure ends all texts, and never the thread."""
        self._begun = time.monotonic()
        self._run = Run()
        try:
            with self.session.use() as stepper:
                self._stepper = stepper
                admitted = self._admit(stepper, waiting)
                begun = time.monotonic()
                record = stepper.step(self._run)
                record.queue_s = tuple(begun - request.arrived for request in admitted)
                record.callers = tuple(request.caller for request in admitted)
                return record
        except Exception as error:
            log.exception("%s: a step failed", self.session.title)
            failed = error if isinstance(error, ModelpadError) else NotReady(str(error))
            for request in list(self._unfinished.values()):
                request.job.cancelled = True
                self._events.append((request.inbox, failed))
            return StepRecord(failures=1)
        finally:
            self._begun = self._run = None
            if not self._has_jobs():
                self._stepper = None  # so that it can be evicted

    def _admit(self, stepper: Stepper, waiting: list[TextRequest]) -> list[TextRequest]:
        """The oldest requests join while there is room; the first always does when none is left."""
        admitted = []
        rows = stepper.rows
        for request in waiting:
            if rows and rows + request.rows > self.texts.texts:
                break
            rows += request.rows
            with self._wake:
                if request not in self._queue:
                    continue
                self._queue.remove(request)
            admitted.append(request)
            stepper.add(request.job)
        return admitted

    def _send(
        self, events: list[tuple[Inbox, Emitted | ModelpadError]], records: list[StepRecord]
    ) -> None:
        loop = self._loop
        assert loop is not None
        try:
            loop.call_soon_threadsafe(self._deliver, events, records)
        except RuntimeError:
            return  # the loop is closed: nobody is waiting

    def _deliver(
        self, events: list[tuple[Inbox, Emitted | ModelpadError]], records: list[StepRecord]
    ) -> None:
        for inbox, item in events:
            inbox.deliver(item)
        for record in records:
            if self.observe is not None:
                times = 0.0, record.inference_s, 0.0
                counts = record.failures, record.callers
                self.observe(BatchRecord(record.rows, record.queue_s, *times, *counts))
            if self.observe_step is not None:
                self.observe_step(record)

    # The end.

    def hold(self) -> AbstractContextManager[None]:
        """Keeps `drain` waiting while the rest of a request is still being received."""
        return self._holds

    async def drain(self, timeout_s: float) -> bool:
        """Waits until no request is unfinished or held. Returns False on time-out."""
        return await self._holds.drain(lambda: not self._unfinished, timeout_s)

    def close(self) -> None:
        """Stops the engine. Unfinished requests fail with `NotReady`."""
        with self._wake:
            self._closed = True
            self._queue.clear()
            self._wake.notify_all()
        for request in list(self._unfinished.values()):
            request.job.cancelled = True
            request.inbox.deliver(NotReady(CLOSING))

    def join(self, timeout_s: float) -> None:
        """Waits for the thread of a closed engine to end, then stops its step."""
        self._thread.join(timeout_s)
        run = self._run
        if run is not None:
            run.stop()
            self._thread.join(STOP_S)
