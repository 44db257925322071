"""Runs a session for many callers: a bounded queue, a few threads, batches as `decide` says.

Requests come from one event loop; decoding, inference and encoding happen on the engine's threads,
and each batch comes back to the loop in one step.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelpad.engine.batching import BatchLimits, decide
from modelpad.engine.running import BatchRecord, RunningBatch
from modelpad.engine.work import Work
from modelpad.errors import DeadlineExceeded, NotReady, Overloaded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelpad.engine.session import Session

    Arrays = dict[str, NDArray[np.generic]]

log = logging.getLogger("modelpad.engine")

SWEEP_S = 0.05
LONGEST_INLINE_S = 0.02
SHORTAGE_S = 0.05  # until a thread without memory to work with tries again
STOP_S = 0.2  # for a run that was told to stop, where nobody waits for it any more
CLOSING = "The model is being closed."


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How much may wait, and how long: `length` requests, `timeout_s` seconds each."""

    length: int = 128
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        if self.length < 1 or self.timeout_s <= 0:
            raise ValueError("a queue needs a length of at least 1 and a time-out above 0 s")


class Batcher:
    """Answers single items and whole tensors of one model, batched.

    `observe`, when given, is called on the event loop's thread with the record of each batch. With
    `inline` set, batches run on that thread too, each when all that has arrived is in the queue:
    for a model whose batch takes less than to wake another thread twice, and to share Python's lock
    with it. When one computes for longer than `LONGEST_INLINE_S` after all, batches go back to the
    threads.
    """

    def __init__(
        self,
        session: Session,
        *,
        threads: int = 1,
        limits: QueueLimits | None = None,
        batches: BatchLimits | None = None,
        observe: Callable[[BatchRecord], None] | None = None,
    ) -> None:
        self.session = session
        self.limits = limits or QueueLimits()
        self.batches = batches or BatchLimits()
        self.observe = observe
        self.inline = False
        self._queue: list[Work] = []
        self._unfinished: set[Work] = set()
        self._held = 0
        self._wake = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweeping = False
        self._calling = False
        self._closed = False
        self._timers: list[threading.Timer] = []
        self._running: dict[int, RunningBatch] = {}  # what each thread runs
        self._threads = [
            threading.Thread(target=self._work, name=f"modelpad-engine-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """How many requests wait or run."""
        return len(self._unfinished)

    @property
    def is_full(self) -> bool:
        """Whether another request would be refused."""
        return len(self._unfinished) >= self.limits.length

    @property
    def is_stuck(self) -> bool:
        """Whether a batch has run for twice the time that a request may take: it hangs.

        It was told to stop long before, and is inside of one operator that does not end.
        """
        long_ago = time.monotonic() - 2 * self.limits.timeout_s
        return any(batch.begun < long_ago for batch in list(self._running.values()))

    async def answer(self, values: Mapping[str, object]) -> dict[str, Any]:
        """One item's values, not decoded yet, to its encoded answer; large tensors stay arrays.

        Raises:
            Overloaded: the queue is full.
            DeadlineExceeded: no answer in time.
            NotReady: the engine was closed.
            InvalidInput, ModelFailed: as the session does.
        """
        session = self.session
        answer: dict[str, Any] = await self._enqueue(
            1, lambda: session.decode(values), session.encode_small
        )
        return answer

    async def run(self, arrays: Arrays, *, timeout_s: float | None = None) -> Arrays:
        """Tensors (n, ...) of n items to output tensors (n, ...). Raises as `answer` does.

        More items than the best batch has are run in pieces, between those of others.
        """
        items = len(next(iter(arrays.values())))
        outputs: Arrays = await self._enqueue(items, lambda: arrays, lambda out: out, timeout_s)
        return outputs

    def check_free(self) -> None:
        """Raises `Overloaded` when the queue is full."""
        if self.is_full:
            raise Overloaded(
                f"{len(self._unfinished)} requests wait already.",
                hint="Try again in a second.",
                retry_after_s=1,
            )

    def close(self) -> None:
        """Stop: what waits is told `NotReady`, what runs is finished."""
        with self._wake:
            self._closed = True
            left = list(self._queue)
            self._queue.clear()
            self._wake.notify_all()
        for timer in self._timers:
            timer.cancel()
        for work in left:
            self._unfinished.discard(work)
            if not work.future.done():
                work.future.set_exception(NotReady(CLOSING))

    def run_later(self, seconds: float, work: Callable[[], None]) -> None:
        """Runs something once, aside, unless the engine is closed before."""
        timer = threading.Timer(seconds, work)
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def join(self, timeout_s: float) -> None:
        """Waits until the threads of a closed engine have ended; then stops what they run.

        A process that leaves while one is inside of ONNX Runtime would be aborted.
        """
        end = time.monotonic() + timeout_s
        for thread in (*self._threads, *self._timers):
            thread.join(max(0.0, end - time.monotonic()))
        for batch in list(self._running.values()):
            batch.run.stop()
        for thread in self._threads:
            thread.join(STOP_S)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """While a caller is about to ask, as the rest of its request is on its way."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    async def drain(self, timeout_s: float) -> bool:
        """Waits until nothing waits or runs or is held, or the time is over; answers which."""
        end = time.monotonic() + timeout_s
        while (self._held or self._unfinished) and time.monotonic() < end:
            await asyncio.sleep(0.005)
        return not (self._held or self._unfinished)

    async def _enqueue(
        self,
        items: int,
        prepare: Callable[[], Arrays],
        finish: Callable[[Arrays], Any],
        timeout_s: float | None = None,
    ) -> Any:
        if self._closed:
            raise NotReady(CLOSING, hint="Try again in a second.")
        self.check_free()
        loop = self._loop = asyncio.get_running_loop()
        now = time.monotonic()
        limit = min(timeout_s or self.limits.timeout_s, self.limits.timeout_s)
        piece = self.batches.largest if self.session.can_split else 0
        future = loop.create_future()
        work = Work(now, now + limit, items, False, prepare, finish, piece=piece, future=future)
        self._unfinished.add(work)
        with self._wake:
            self._queue.append(work)
            if not self.inline:
                self._wake.notify()
        if self.inline:
            self._call_inline()
        if not self._sweeping:
            self._sweeping = True
            loop.call_later(SWEEP_S, self._sweep)
        try:
            return await work.future
        except (asyncio.CancelledError, DeadlineExceeded):
            self._withdraw(work)
            raise

    def _withdraw(self, work: Work) -> None:
        """Takes a request that nobody waits for out of the queue, so that its input is freed."""
        work.gone = True
        with self._wake:
            if work in self._queue:
                self._queue.remove(work)
                self._unfinished.discard(work)

    def _sweep(self) -> None:
        """Answers those whose time is over, and stops the batches that nobody waits for."""
        assert self._loop is not None
        self._sweeping = False
        try:
            self._expire()
            with self._wake:  # no thread takes a batch just now
                batches = list(self._running.values())
            for batch in batches:
                if batch.is_over and not batch.run.stopped:
                    log.warning("%s: stopping a batch past its deadline", self.session.title)
                    batch.run.stop()
        finally:
            if self._unfinished or self._running:
                self._loop.call_later(SWEEP_S, self._sweep)
                self._sweeping = True

    def _expire(self) -> None:
        now = time.monotonic()
        for work in [each for each in self._unfinished if each.deadline <= now]:
            self._unfinished.discard(work)
            if not work.future.done():
                seconds = work.deadline - work.arrived
                work.future.set_exception(
                    DeadlineExceeded(
                        f"No answer within {seconds:g} s.",
                        hint="Try again, or allow more time: --timeout, or the request's own.",
                        timeout_s=seconds,
                    )
                )

    def _work(self) -> None:
        """An engine thread's life."""
        while True:
            try:
                batch = self._take()
            except MemoryError:
                time.sleep(SHORTAGE_S)
                continue
            if batch is None:
                return
            record = batch.execute(self.session)
            self._put_back(batch)
            del self._running[threading.get_ident()]
            assert self._loop is not None
            try:
                self._loop.call_soon_threadsafe(self._deliver, batch, record)
            except RuntimeError:
                return  # the loop is closed: nobody is left to answer
            del batch, record  # else this thread keeps their requests while it waits for others

    def _take(self) -> RunningBatch | None:
        """The next batch; waits for one. None when the engine is closed."""
        with self._wake:
            while not self._closed:
                taken, leaving, until = self._choose()
                if leaving and self._loop is not None:
                    self._loop.call_soon_threadsafe(self._forget, leaving)
                del leaving
                if taken:
                    batch = self._running[threading.get_ident()] = RunningBatch(taken)
                    return batch
                self._wake.wait(None if until is None else max(0.0, until - time.monotonic()))
        return None

    def _put_back(self, batch: RunningBatch) -> None:
        """What has pieces left waits for its next turn, behind all that has come meanwhile."""
        if not batch.again:
            return
        with self._wake:
            if self._closed:
                batch.done += [(work, NotReady(CLOSING)) for work in batch.again]
            else:
                self._queue += batch.again

    def _choose(self) -> tuple[list[Work], list[Work], float | None]:
        """What runs now and what is dropped, both out of the queue; else until when to wait."""
        decision = decide(self._queue, time.monotonic(), self.batches)
        taken = [self._queue[place] for place in decision.taken]
        leaving = [self._queue[place] for place in decision.dropped]
        if taken or leaving:
            out = {*decision.taken, *decision.dropped}
            self._queue = [work for place, work in enumerate(self._queue) if place not in out]
        return taken, leaving, decision.wait_until

    def _call_inline(self, delay_s: float = 0.0) -> None:
        """Runs a batch on the loop's thread, after all that has arrived by now is in the queue."""
        if not self._calling and self._loop is not None:
            self._calling = True
            if delay_s:
                self._loop.call_later(delay_s, self._run_inline)
            else:
                self._loop.call_soon(self._run_inline)

    def _run_inline(self) -> None:
        self._calling = False
        with self._wake:
            taken, leaving, until = self._choose()
        self._forget(leaving)
        begin = time.thread_time()  # not of a clock: the machine may have been busy with others
        if taken:
            batch = RunningBatch(taken)
            record = batch.execute(self.session)
            self._put_back(batch)
            self._deliver(batch, record)
        if time.thread_time() - begin > LONGEST_INLINE_S:
            self.inline = False  # it would hold up the loop: from now on by threads
            with self._wake:
                self._wake.notify_all()
        elif self._queue:
            wait_s = 0.0 if until is None else until - time.monotonic()
            self._call_inline(max(0.0, wait_s))

    def _forget(self, leaving: list[Work]) -> None:
        for work in leaving:
            if work.gone:
                self._unfinished.discard(work)  # the sweep answers those that are late

    def _deliver(self, batch: RunningBatch, record: BatchRecord) -> None:
        for work, result in batch.done:
            self._unfinished.discard(work)
            if work.future.done():
                continue
            if isinstance(result, Exception):
                work.future.set_exception(result)
            else:
                work.future.set_result(result)
        if self.observe is not None:
            self.observe(record)
