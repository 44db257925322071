"""Runs one batch: prepares its requests, predicts those that are alike together, finishes each.

It is synchronous, and knows nothing of queues, threads or event loops.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modelpad.engine.session import Run
from modelpad.engine.work import NotSplittable, Work
from modelpad.errors import ModelFailed, ModelpadError, forget_frames

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelpad.engine.session import Session

    Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """What one batch was and cost, in seconds: `queue_s` has the wait of each request in it.

    A request that is run in pieces is told of in its first batch alone. `callers` has for each of
    those told of what its caller had set as `CALLER`.
    """

    items: int
    queue_s: tuple[float, ...]
    prepare_s: float
    inference_s: float
    encode_s: float
    failures: int = 0
    callers: tuple[Any, ...] = ()


@dataclass(slots=True)
class RunningBatch:
    """A batch while it runs; another thread may stop it once nobody waits for it."""

    works: list[Work]
    run: Run = field(default_factory=Run)
    begun: float = field(default_factory=time.monotonic)
    done: list[tuple[Work, Any]] = field(default_factory=list)
    again: list[Work] = field(default_factory=list)
    prepare_s: float = 0.0
    inference_s: float = 0.0
    encode_s: float = 0.0

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for any of it."""
        return all(work.is_over for work in self.works)

    def execute(self, session: Session) -> BatchRecord:
        """Runs it: afterwards `done` has each request's answer or error, and `again` those that
        have pieces left."""
        new = [work for work in self.works if work.arrays is None]
        items = 0
        try:
            ready = self._prepare()
            items = sum(work.items for work in ready)
            for group in group_alike(ready):
                self._run_group(session, group)
        except MemoryError as error:
            told = {id(work) for work, _ in self.done} | {id(work) for work in self.again}
            left = [work for work in self.works if id(work) not in told]
            self.done += [(work, as_error(error)) for work in left]
        failed = sum(isinstance(result, Exception) for _, result in self.done)
        queued = tuple(self.begun - work.arrived for work in new)
        callers = tuple(work.caller for work in new)
        times = self.prepare_s, self.inference_s, self.encode_s
        return BatchRecord(items, queued, *times, failed, callers)

    def _prepare(self) -> list[Work]:
        ready = []
        for work in self.works:
            try:
                if work.arrays is None:
                    work.arrays = work.prepare()
                ready.append(work)
            except Exception as error:
                self.done.append((work, as_error(error)))
        self.prepare_s = time.monotonic() - self.begun
        return ready

    def _run_group(self, session: Session, group: list[Work]) -> None:
        start = time.monotonic()
        try:
            outputs = self._predict(session, group)
        except Exception as error:
            self.inference_s += time.monotonic() - start
            if len(group) == 1 or self.run.stopped:
                self.done += [(work, as_error(error)) for work in group]
                return
            for work in group:  # one bad item must not fail the others of its batch
                self._run_group(session, [work])
            return
        ran = time.monotonic()
        self.inference_s += ran - start
        items = sum(work.items for work in group)
        if all(array.ndim and len(array) == items for array in outputs.values()):
            self._finish(session, group, outputs)
        elif len(group) > 1:
            for work in group:  # what is whose cannot be told
                self._run_group(session, [work])
        elif group[0].is_split:
            self._run_whole(session, group[0])
        else:
            self._finish(session, group, outputs)
        self.encode_s += time.monotonic() - ran

    def _predict(self, session: Session, group: list[Work]) -> Arrays:
        import numpy as np

        parts = [work.take_piece() for work in group]
        if len(parts) == 1:
            return session.predict(parts[0], self.run)
        return session.predict(
            {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, self.run
        )

    def _finish(self, session: Session, group: list[Work], outputs: Arrays) -> None:
        start = 0
        for work in group:
            stop = start + work.items
            mine = {name: array[start:stop] for name, array in outputs.items()}
            start = stop
            try:
                whole = work.add_outputs(mine)
                if whole is None:
                    self.again.append(work)
                else:
                    self.done.append((work, work.finish(whole)))
            except NotSplittable:
                self._run_whole(session, work)
            except Exception as error:
                self.done.append((work, as_error(error)))

    def _run_whole(self, session: Session, work: Work) -> None:
        session.forbid_splitting()
        work.run_whole()
        self.again.append(work)


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


def as_error(error: Exception) -> ModelpadError:
    """The error as one of ours."""
    forget_frames(error)
    if isinstance(error, ModelpadError):
        return error
    if isinstance(error, MemoryError):
        return ModelFailed(
            "There is not enough memory for this request.", hint="Send fewer items at once."
        )
    return ModelFailed(
        f"{type(error).__name__}: {error}", hint="This is a defect; the log says where."
    )
