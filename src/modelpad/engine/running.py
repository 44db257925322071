"""Runs one batch: prepares its requests, predicts those of the same shape together, finishes each.

It is synchronous, and independent of queues, threads and event loops.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from modelpad.engine.request import InferenceRequest, NotSplittable
from modelpad.engine.session import Run
from modelpad.errors import ModelFailed, ModelpadError, forget_frames

if TYPE_CHECKING:
    from modelpad.engine.session import Session
    from modelpad.engine.typed import TypedAccess
    from modelpad.fields.arrays import Array, Arrays


class BatchRecord(msgspec.Struct, frozen=True):
    """The size and cost of one batch, in seconds. `queue_s` is each request's time in the queue.

    A request that runs in chunks is recorded only with its first batch. `callers` are the `CALLER`
    values of the recorded requests.
    """

    items: int
    queue_s: tuple[float, ...]
    prepare_s: float
    inference_s: float
    encode_s: float
    failures: int = 0
    callers: tuple[object, ...] = ()


class RunningBatch(msgspec.Struct):
    """A batch while it runs. Another thread may stop it once nobody is waiting for it."""

    requests: list[InferenceRequest]
    run: Run = msgspec.field(default_factory=Run)
    begun: float = msgspec.field(default_factory=time.monotonic)
    done: list[tuple[InferenceRequest, object]] = msgspec.field(default_factory=list)
    unfinished: list[InferenceRequest] = msgspec.field(default_factory=list)
    prepare_s: float = 0.0
    inference_s: float = 0.0
    encode_s: float = 0.0

    @property
    def is_abandoned(self) -> bool:
        """Whether nobody is waiting for any of its requests."""
        return all(request.is_abandoned for request in self.requests)

    def execute(self, session: Session) -> BatchRecord:
        """Runs the batch.

        Afterwards `done` has each finished request with its result or error, and `unfinished` those
        with chunks left.
        """
        new = [request for request in self.requests if request.inputs is None]
        items = 0
        try:
            ready = self._prepare()
            items = sum(request.items for request in ready)
            for name, requests in group_by_signature(ready).items():
                part = session.find_signature(name)
                for group in group_requests(requests, part.typed):
                    self._run_group(part, group)
        except MemoryError as error:
            handled = {id(request) for request, _ in self.done} | {
                id(request) for request in self.unfinished
            }
            remaining = [request for request in self.requests if id(request) not in handled]
            self.done += [(request, wrap_error(error)) for request in remaining]
        failed = sum(isinstance(result, Exception) for _, result in self.done)
        queued = tuple(self.begun - request.arrived for request in new)
        callers = tuple(request.caller for request in new)
        times = self.prepare_s, self.inference_s, self.encode_s
        return BatchRecord(items, queued, *times, failed, callers)

    def _prepare(self) -> list[InferenceRequest]:
        ready = []
        for request in self.requests:
            try:
                if request.inputs is None:
                    request.inputs = request.prepare()
                ready.append(request)
            except Exception as error:
                self.done.append((request, wrap_error(error)))
        self.prepare_s = time.monotonic() - self.begun
        return ready

    def _run_group(self, session: Session, group: list[InferenceRequest]) -> None:
        start = time.monotonic()
        try:
            outputs = self._predict(session, group)
        except Exception as error:
            self.inference_s += time.monotonic() - start
            if len(group) == 1 or self.run.stopped:
                self.done += [(request, wrap_error(error)) for request in group]
                return
            for request in group:  # one bad request must not fail the others in its batch
                self._run_group(session, [request])
            return
        ran = time.monotonic()
        self.inference_s += ran - start
        if len(group) == 1 and not group[0].is_split:
            self._finish_one(session, group[0], outputs)
        elif self._are_items(session, group, outputs):
            self._finish(session, group, outputs)
        elif len(group) > 1:
            for request in group:  # the outputs cannot be assigned to requests
                self._run_group(session, [request])
        else:
            self._requeue_whole(session, group[0])
        self.encode_s += time.monotonic() - ran

    def _predict(self, session: Session, group: list[InferenceRequest]) -> Arrays:
        import numpy as np

        parts = [request.next_chunk() for request in group]
        if len(parts) == 1:
            return session.predict(parts[0], self.run)
        axes = session.typed.inputs.axes
        joined = {
            name: np.concatenate([part[name] for part in parts], axis=axes[name] or 0)
            for name in parts[0]
        }
        return session.predict(joined, self.run)

    def _are_items(self, session: Session, group: list[InferenceRequest], outputs: Arrays) -> bool:
        """Whether each output has one row for each item on its batch axis."""
        items = sum(request.items for request in group)
        axes = session.typed.outputs.axes
        return all(
            array.ndim > (axes[name] or 0) and array.shape[axes[name] or 0] == items
            for name, array in outputs.items()
        )

    def _finish(self, session: Session, group: list[InferenceRequest], outputs: Arrays) -> None:
        axes = session.typed.outputs.axes
        start = 0
        for request in group:
            stop = start + request.items
            slices = {
                name: array[(slice(None),) * (axes[name] or 0) + (slice(start, stop),)]
                for name, array in outputs.items()
            }
            start = stop
            self._finish_one(session, request, slices)

    def _finish_one(self, session: Session, request: InferenceRequest, outputs: Arrays) -> None:
        try:
            joined = request.add_outputs(outputs)
            if joined is None:
                self.unfinished.append(request)
            else:
                request.inputs = None  # large pictures need the memory
                self.done.append((request, request.finish(joined)))
        except NotSplittable:
            self._requeue_whole(session, request)
        except Exception as error:
            self.done.append((request, wrap_error(error)))

    def _requeue_whole(self, session: Session, request: InferenceRequest) -> None:
        session.disable_splitting()
        request.restart_whole()
        self.unfinished.append(request)


def group_by_signature(requests: list[InferenceRequest]) -> dict[str, list[InferenceRequest]]:
    """The requests for each signature of the model."""
    groups: dict[str, list[InferenceRequest]] = {}
    for request in requests:
        groups.setdefault(request.signature, []).append(request)
    return groups


def group_requests(
    requests: list[InferenceRequest], typed: TypedAccess
) -> list[list[InferenceRequest]]:
    """Groups requests by dtypes and item shapes: only equal ones can be concatenated.

    Each request is alone if a tensor has no batch axis.
    """
    if not typed.joins:
        return [[request] for request in requests]
    if len(requests) < 2:
        return [requests] if requests else []
    groups: dict[object, list[InferenceRequest]] = {}
    for request in requests:
        key = tuple(
            (name, array.dtype.str, _item_shape(array, typed.inputs.axes[name] or 0))
            for name, array in (request.inputs or {}).items()
        )
        groups.setdefault(key, []).append(request)
    return list(groups.values())


def _item_shape(array: Array, axis: int) -> tuple[int, ...]:
    return array.shape[:axis] + array.shape[axis + 1 :]


def wrap_error(error: Exception) -> ModelpadError:
    """The error itself if it is a `ModelpadError`, else a `ModelFailed` that describes it."""
    forget_frames(error)
    if isinstance(error, ModelpadError):
        return error
    if isinstance(error, MemoryError):
        return ModelFailed(
            "There is not enough memory for this request.", hint="Send fewer items at once."
        )
    return ModelFailed(
        f"{type(error).__name__}: {error}",
        hint="This is a bug in modelpad. See the log for details.",
    )
