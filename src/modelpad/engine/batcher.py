"""Runs a session for many callers: a bounded queue, a few threads, and batches chosen by `decide`.

Requests come from one event loop. Decoding, inference and encoding run on the engine's threads, and
each finished batch returns to the loop in a single step.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

import msgspec

from modelpad.engine.batching import BatchLimits, decide
from modelpad.engine.draining import Holds
from modelpad.engine.expected import Expected
from modelpad.engine.request import InferenceRequest
from modelpad.engine.running import BatchRecord, RunningBatch
from modelpad.errors import DeadlineExceeded, NotReady, Overloaded

if TYPE_CHECKING:
    from modelpad.engine.session import Session
    from modelpad.fields.arrays import Arrays

Result = TypeVar("Result")

log = logging.getLogger("modelpad.engine")

SWEEP_S = 0.05  # between checks for expired requests
MAX_INLINE_S = 0.02
MAX_WAIT = 0.8  # of the time-out: a request behind a longer queue would hardly finish in time
MEMORY_RETRY_S = 0.05  # until a thread that is out of memory tries again
STOP_S = 0.2  # for a run to end after its stop was requested
CLOSING = "The model is being unloaded."


class QueueLimits(msgspec.Struct, frozen=True):
    """At most `max_length` requests are queued or running, each for at most `timeout_s`."""

    max_length: int = 128
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        if self.max_length < 1 or self.timeout_s <= 0:
            raise ValueError("max_length must be at least 1, and timeout_s above 0")


def exceed_deadline(seconds: float) -> DeadlineExceeded:
    """The error of a request that had so many seconds."""
    return DeadlineExceeded(
        f"The prediction took longer than {seconds:g} s.",
        hint="Try again, or raise --timeout or the request's own time-out.",
        timeout_s=seconds,
    )


class Batcher:
    """Runs one model's requests, for single items or whole tensors, in batches.

    `observe` is called on the event loop's thread with the record of each batch. With `inline` set,
    batches run on that thread too, once all requests that have arrived are queued. That is faster
    for a model whose batch takes less time than switching threads twice. If a batch takes more CPU
    time than `MAX_INLINE_S`, the threads take over again.
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
        self.expected = Expected()
        self.inline = False
        self._queue: list[InferenceRequest] = []
        self._unfinished: dict[InferenceRequest, int] = {}  # with its items in a batch
        self._waiting_items = 0  # of these
        self._item_s = 0.0
        self._holds = Holds()
        self._lock = threading.Lock()  # of the queue
        self._wake = threading.Condition(self._lock)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweeping = False
        self._inline_scheduled = False
        self._closed = False
        self._timers: list[threading.Timer] = []
        self._running: dict[int, RunningBatch] = {}  # by thread
        self._threads = [
            threading.Thread(target=self._run_thread, name=f"modelpad-engine-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """The number of requests that are queued or running."""
        return len(self._unfinished)

    @property
    def is_full(self) -> bool:
        """Whether another request would be rejected: the queue is full, or takes too long."""
        if len(self._unfinished) + self.expected.count >= self.limits.max_length:
            return True
        return self.wait_s > MAX_WAIT * self.limits.timeout_s

    @property
    def wait_s(self) -> float:
        """How long the requests that are queued or running will take, by the latest batches."""
        return self._waiting_items * self._item_s / len(self._threads)

    @property
    def is_stuck(self) -> bool:
        """Whether a batch has been running for more than twice the time-out.

        Its stop was requested long before, so it must be stuck inside an operator.
        """
        limit = time.monotonic() - 2 * self.limits.timeout_s
        return any(batch.begun < limit for batch in list(self._running.values()))

    async def answer(self, values: Mapping[str, object]) -> dict[str, object]:
        """The encoded outputs for one item's raw values. Large tensors stay arrays.

        Raises:
            Overloaded: the queue is full.
            DeadlineExceeded: the time-out has passed.
            NotReady: the engine is closed.
            InvalidInput, ModelFailed: like the session.
        """
        typed = self.session.typed
        return await self._enqueue(
            1, lambda: typed.decode(values), partial(typed.encode_small, values)
        )

    async def run(
        self, arrays: Arrays, *, timeout_s: float | None = None, signature: str = ""
    ) -> Arrays:
        """The graph's outputs for its inputs, by one of its signatures. Raises like `answer`.

        A large request runs in chunks, between those of other requests.
        """
        items = self.session.find_signature(signature).typed.inputs.count_items(arrays)
        return await self._enqueue(
            items, lambda: arrays, lambda outputs: outputs, timeout_s, signature
        )

    def check_free(self) -> None:
        """Raises `Overloaded` if the queue is full."""
        if self.is_full:
            raise Overloaded(
                f"The queue is full: {len(self._unfinished) + self.expected.count} requests,"
                f" for {self.wait_s:.0f} s.",
                hint="Try again in a second.",
                retry_after_s=1,
            )

    def close(self) -> None:
        """Stops the engine. Queued requests fail with `NotReady`, running batches finish."""
        with self._wake:
            self._closed = True
            queued = list(self._queue)
            self._queue.clear()
            self._wake.notify_all()
        for timer in self._timers:
            timer.cancel()
        for request in queued:
            self._remove(request)
            if not request.future.done():
                request.future.set_exception(NotReady(CLOSING))

    def run_later(self, seconds: float, task: Callable[[], None]) -> None:
        """Runs a task in a thread of its own after a delay, unless the engine is closed first."""
        timer = threading.Timer(seconds, task)
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def join(self, timeout_s: float) -> None:
        """Waits for the threads of a closed engine to end, then stops the batches that they run.

        A process that exits while a thread is in ONNX Runtime would abort.
        """
        end = time.monotonic() + timeout_s
        for thread in (*self._threads, *self._timers):
            thread.join(max(0.0, end - time.monotonic()))
        for batch in list(self._running.values()):
            batch.run.stop()
        for thread in self._threads:
            thread.join(STOP_S)

    def hold(self) -> AbstractContextManager[None]:
        """Keeps `drain` waiting while the rest of a request is still being received."""
        return self._holds

    async def drain(self, timeout_s: float) -> bool:
        """Waits until no request is queued, running or held. Returns False on time-out."""
        return await self._holds.drain(lambda: not self._unfinished, timeout_s)

    async def _enqueue(
        self,
        items: int,
        prepare: Callable[[], Arrays],
        finish: Callable[[Arrays], Result],
        timeout_s: float | None = None,
        signature: str = "",
    ) -> Result:
        if self._closed:
            raise NotReady(CLOSING, hint="Try again in a second.")
        self.check_free()
        loop = self._loop = asyncio.get_running_loop()
        now = time.monotonic()
        limit = min(timeout_s or self.limits.timeout_s, self.limits.timeout_s)
        splits = self.session.find_signature(signature).can_split
        chunk_size = self.batches.max_chunk_size if splits else 0
        future: asyncio.Future[Result] = loop.create_future()
        request = InferenceRequest(
            arrived=now,
            deadline=now + limit,
            items=items,
            prepare=prepare,
            finish=finish,
            signature=signature,
            chunk_size=chunk_size,
            future=cast("asyncio.Future[object]", future),
        )
        self._unfinished[request] = request.items
        self._waiting_items += request.items
        with self._lock:
            self._queue.append(request)
            if not self.inline:
                self._wake.notify()
        if self.inline and not self._inline_scheduled:
            self._schedule_inline()
        if not self._sweeping:
            self._sweeping = True
            loop.call_later(SWEEP_S, self._sweep)
        try:
            return await future
        except (asyncio.CancelledError, DeadlineExceeded):
            self._withdraw(request)
            raise

    def _withdraw(self, request: InferenceRequest) -> None:
        """Cancels a request. If it is still queued, it is removed, which frees its inputs."""
        request.cancelled = True
        with self._lock:
            if request in self._queue:
                self._queue.remove(request)
                self._remove(request)

    def _remove(self, request: InferenceRequest) -> None:
        self._waiting_items -= self._unfinished.pop(request, 0)

    def _sweep(self) -> None:
        """Fails expired requests, and stops batches that nobody is waiting for."""
        assert self._loop is not None
        self._sweeping = False
        try:
            self._expire()
            with self._lock:  # so that no thread takes a batch meanwhile
                batches = list(self._running.values())
            for batch in batches:
                if batch.is_abandoned and not batch.run.stopped:
                    log.warning("%s: stopping an abandoned batch", self.session.title)
                    batch.run.stop()
        finally:
            if self._unfinished or self._running:
                self._loop.call_later(SWEEP_S, self._sweep)
                self._sweeping = True

    def _expire(self) -> None:
        now = time.monotonic()
        for request in [each for each in self._unfinished if each.deadline <= now]:
            self._remove(request)
            if not request.future.done():
                request.future.set_exception(exceed_deadline(request.deadline - request.arrived))

    def _run_thread(self) -> None:
        """The main loop of an engine thread."""
        while True:
            try:
                batch = self._take()
            except MemoryError:
                time.sleep(MEMORY_RETRY_S)
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
                return  # the loop is closed: nobody is waiting for results
            del batch, record  # frees their requests while this thread waits for others

    def _take(self) -> RunningBatch | None:
        """Waits for the next batch. Returns None once the engine is closed."""
        with self._wake:
            while not self._closed:
                selected, dropped, until = self._choose()
                if dropped and self._loop is not None:
                    self._loop.call_soon_threadsafe(self._forget, dropped)
                del dropped
                if selected:
                    batch = self._running[threading.get_ident()] = RunningBatch(selected)
                    return batch
                self._wake.wait(None if until is None else max(0.0, until - time.monotonic()))
        return None

    def _put_back(self, batch: RunningBatch) -> None:
        """Queues requests with chunks left again, behind those that have arrived meanwhile."""
        if not batch.unfinished:
            return
        with self._lock:
            if self._closed:
                batch.done += [(request, NotReady(CLOSING)) for request in batch.unfinished]
            else:
                self._queue += batch.unfinished

    def _choose(self) -> tuple[list[InferenceRequest], list[InferenceRequest], float | None]:
        """Removes the requests to run now and those to drop from the queue.

        Returns both, and the time until which to wait.
        """
        decision = decide(self._queue, time.monotonic(), self.batches)
        selected = [self._queue[at] for at in decision.selected]
        dropped = [self._queue[at] for at in decision.dropped]
        if selected or dropped:
            removed = {*decision.selected, *decision.dropped}
            self._queue = [request for at, request in enumerate(self._queue) if at not in removed]
        return selected, dropped, decision.wait_until

    def _schedule_inline(self, delay_s: float = 0.0) -> None:
        """Schedules a batch on the loop's thread, after the requests that have just arrived."""
        if not self._inline_scheduled and self._loop is not None:
            self._inline_scheduled = True
            if delay_s:
                self._loop.call_later(delay_s, self._run_inline)
            else:
                self._loop.call_soon(self._run_inline)

    def _run_inline(self) -> None:
        self._inline_scheduled = False
        with self._lock:
            selected, dropped, until = self._choose()
        if dropped:
            self._forget(dropped)
        begin = time.thread_time()  # CPU time: the machine may be busy with other processes
        if selected:
            batch = RunningBatch(selected)
            record = batch.execute(self.session)
            self._put_back(batch)
            self._deliver(batch, record)
        if time.thread_time() - begin > MAX_INLINE_S:
            self.inline = False  # too slow for the loop: let the threads run batches
            with self._wake:
                self._wake.notify_all()
        elif self._queue:
            wait_s = 0.0 if until is None else until - time.monotonic()
            self._schedule_inline(max(0.0, wait_s))

    def _forget(self, dropped: list[InferenceRequest]) -> None:
        for request in dropped:
            if request.cancelled:
                self._remove(request)  # the sweep fails the expired ones

    def _deliver(self, batch: RunningBatch, record: BatchRecord) -> None:
        if record.items:
            item_s = record.inference_s / record.items
            # Rises slowly: a batch may have loaded the graph, or waited for a busy processor.
            self._item_s = min(item_s, 1.1 * self._item_s) if self._item_s else item_s
        for request, result in batch.done:
            self._remove(request)
            if request.future.done():
                continue
            if isinstance(result, Exception):
                request.future.set_exception(result)
            else:
                request.future.set_result(result)
        if self.observe is not None:
            self.observe(record)
