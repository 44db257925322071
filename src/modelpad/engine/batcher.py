"""Runs a session for many callers: a bounded queue, a few threads, batches as `decide` says.

Requests come from one event loop; decoding, inference and encoding happen on the engine's threads,
and each batch comes back to the loop in one step.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modelpad.engine.batching import BatchLimits, Waiting, decide
from modelpad.errors import (
    DeadlineExceeded,
    ModelFailed,
    ModelpadError,
    NotReady,
    Overloaded,
    forget_frames,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelpad.engine.session import Session

    Arrays = dict[str, NDArray[np.generic]]

SWEEP_S = 0.05
LONGEST_INLINE_S = 0.02
# Whatever a caller sets here comes back in the records of its batches; a trace is hung on it.
CALLER: ContextVar[Any] = ContextVar("caller", default=None)


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How much may wait, and how long: `length` requests, `timeout_s` seconds each."""

    length: int = 128
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        if self.length < 1 or self.timeout_s <= 0:
            raise ValueError("a queue needs a length of at least 1 and a time-out above 0 s")


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """What one batch was and cost, in seconds: `queue_s` has the wait of each request in it.

    `callers` has for each of them what its caller had set as `CALLER`.
    """

    items: int
    queue_s: tuple[float, ...]
    prepare_s: float
    inference_s: float
    encode_s: float
    failures: int = 0
    callers: tuple[Any, ...] = ()


@dataclass(slots=True, eq=False)
class Work(Waiting):
    """A request in the queue: how it becomes arrays, how its outputs become its answer."""

    prepare: Callable[[], Arrays] = dict
    finish: Callable[[Arrays], Any] = dict
    future: asyncio.Future[Any] = field(kw_only=True)
    arrays: Arrays | None = None
    caller: Any = field(default_factory=CALLER.get)


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
        self._begun: dict[int, float] = {}  # of the batch that each thread runs
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
        """Whether a batch has run for twice the time that a request may take: it hangs."""
        long_ago = time.monotonic() - 2 * self.limits.timeout_s
        return any(begun < long_ago for begun in list(self._begun.values()))

    async def answer(self, values: Mapping[str, object]) -> dict[str, Any]:
        """One item's values, not decoded yet, to its encoded answer.

        Raises:
            Overloaded: the queue is full.
            DeadlineExceeded: no answer in time.
            NotReady: the engine was closed.
            InvalidInput, ModelFailed: as the session does.
        """
        session = self.session
        answer: dict[str, Any] = await self._enqueue(
            1, lambda: session.decode(values), session.encode
        )
        return answer

    async def run(self, arrays: Arrays, *, timeout_s: float | None = None) -> Arrays:
        """Tensors (n, ...) of n items to output tensors (n, ...). Raises as `answer` does."""
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
                work.future.set_exception(NotReady("The model is being closed."))

    def run_later(self, seconds: float, work: Callable[[], None]) -> None:
        """Runs something once, aside, unless the engine is closed before."""
        timer = threading.Timer(seconds, work)
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def join(self, timeout_s: float) -> None:
        """Waits until the threads of a closed engine have ended.

        A process that leaves while one is inside of ONNX Runtime would be aborted.
        """
        end = time.monotonic() + timeout_s
        for thread in (*self._threads, *self._timers):
            thread.join(max(0.0, end - time.monotonic()))

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
            raise NotReady("The model is being closed.", hint="Try again in a second.")
        self.check_free()
        loop = self._loop = asyncio.get_running_loop()
        now = time.monotonic()
        limit = min(timeout_s or self.limits.timeout_s, self.limits.timeout_s)
        work = Work(now, now + limit, items, False, prepare, finish, future=loop.create_future())
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
        except asyncio.CancelledError:
            work.gone = True
            raise

    def _sweep(self) -> None:
        """Answers those whose time is over, also when their batch hangs."""
        assert self._loop is not None
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
        self._sweeping = bool(self._unfinished)
        if self._sweeping:
            self._loop.call_later(SWEEP_S, self._sweep)

    def _work(self) -> None:
        """An engine thread's life."""
        while True:
            batch = self._take()
            if batch is None:
                return
            thread = threading.get_ident()
            self._begun[thread] = time.monotonic()
            done, record = self._run_batch(batch)
            del self._begun[thread]
            assert self._loop is not None
            try:
                self._loop.call_soon_threadsafe(self._deliver, done, record)
            except RuntimeError:
                return  # the loop is closed: nobody is left to answer

    def _take(self) -> list[Work] | None:
        """The next batch; waits for one. None when the engine is closed."""
        with self._wake:
            while not self._closed:
                taken, leaving, until = self._choose()
                if leaving and self._loop is not None:
                    self._loop.call_soon_threadsafe(self._forget, leaving)
                if taken:
                    return taken
                self._wake.wait(None if until is None else max(0.0, until - time.monotonic()))
        return None

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
            self._deliver(*self._run_batch(taken))
        if time.thread_time() - begin > LONGEST_INLINE_S:
            self.inline = False  # it would hold up the loop: from now on by threads
            with self._wake:
                self._wake.notify_all()
        elif self._queue:
            wait_s = 0.0 if until is None else until - time.monotonic()
            self._call_inline(max(0.0, wait_s))

    def _run_batch(self, batch: list[Work]) -> tuple[list[tuple[Work, Any]], BatchRecord]:
        """Each request with its answer or its error."""
        begin = time.monotonic()
        done: list[tuple[Work, Any]] = []
        ready: list[Work] = []
        for work in batch:
            try:
                work.arrays = work.prepare()
                ready.append(work)
            except Exception as error:
                done.append((work, _as_error(error)))
        prepared = time.monotonic()
        inference = encode = 0.0
        for group in group_alike(ready):
            start = time.monotonic()
            try:
                outputs = self._predict(group)
                ran = time.monotonic()
                done += self._finish(group, outputs)
                inference, encode = inference + ran - start, encode + time.monotonic() - ran
            except Exception as error:
                if len(group) == 1:
                    done.append((group[0], _as_error(error)))
                for work in group if len(group) > 1 else ():
                    # One bad item must not fail the others of its batch.
                    alone, cost = self._run_batch([work])
                    done, encode = done + alone, encode + cost.encode_s
                inference += time.monotonic() - start
        queued = tuple(begin - work.arrived for work in batch)
        items = sum(work.items for work in ready)
        failures = sum(isinstance(result, Exception) for _, result in done)
        callers = tuple(work.caller for work in batch)
        times = prepared - begin, inference, encode
        return done, BatchRecord(items, queued, *times, failures, callers)

    def _predict(self, group: list[Work]) -> Arrays:
        import numpy as np

        parts = [work.arrays for work in group if work.arrays is not None]
        if len(parts) == 1:
            return self.session.predict(parts[0])
        return self.session.predict(
            {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        )

    def _finish(self, group: list[Work], outputs: Arrays) -> list[tuple[Work, Any]]:
        done: list[tuple[Work, Any]] = []
        start = 0
        for work in group:
            mine = {name: array[start : start + work.items] for name, array in outputs.items()}
            start += work.items
            try:
                done.append((work, work.finish(mine)))
            except Exception as error:
                done.append((work, _as_error(error)))
        return done

    def _forget(self, leaving: list[Work]) -> None:
        for work in leaving:
            if work.gone:
                self._unfinished.discard(work)  # the sweep answers those that are late

    def _deliver(self, done: list[tuple[Work, Any]], record: BatchRecord) -> None:
        for work, result in done:
            self._unfinished.discard(work)
            if work.future.done():
                continue
            if isinstance(result, Exception):
                work.future.set_exception(result)
            else:
                work.future.set_result(result)
        if self.observe is not None:
            self.observe(record)


def group_alike(works: list[Work]) -> list[list[Work]]:
    """Those whose arrays have the same dtypes and item shapes, together: only these can be one."""
    if len(works) < 2:
        return [works] if works else []
    groups: dict[object, list[Work]] = {}
    for work in works:
        arrays = work.arrays or {}
        key = tuple((name, array.dtype.str, array.shape[1:]) for name, array in arrays.items())
        groups.setdefault(key, []).append(work)
    return list(groups.values())


def _as_error(error: Exception) -> ModelpadError:
    forget_frames(error)
    if isinstance(error, ModelpadError):
        return error
    return ModelFailed(
        f"{type(error).__name__}: {error}", hint="This is a defect; the log says where."
    )
