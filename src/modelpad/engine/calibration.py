"""Measures the best batch size of a model on this machine."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from modelpad.engine.batching import BatchLimits
from modelpad.errors import ModelpadError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from modelpad.engine.session import Session

SIZES = (1, 2, 4, 8, 16, 32)
REPEATS = 3
BUDGET_S = 0.3
COST_MARGIN = 1.05  # a batch size is acceptable up to this multiple of the lowest cost per item
UNMEASURED = BatchLimits(4)  # for models that are not measured
SLOW_S = 0.03  # an item of a slow model takes longer
SLOW_BUDGET_S = 2.0
SLOW_MARGIN = 1.02  # as COST_MARGIN, for a slow model
INLINE_S = 0.004  # the longest batch that may run on the event loop's thread
INLINE_MARGIN = 1.2  # as COST_MARGIN, for such a batch, which saves the cost of a thread


def find_sample(session: Session) -> Mapping[str, NDArray[np.generic]] | None:
    """One item to measure with: the bundle's first sample, or else zeros.

    None if neither is safe: zeros are used only where a run's cost does not depend on values.
    """
    try:
        for sample in session.bundle.manifest.samples[:1]:
            return session.typed.inputs.decode(session.bundle.sample_values(sample.inputs))
        return make_zeros(session) if session.is_bounded() else None
    except (ModelpadError, OSError):
        return None


def choose_clock(session: Session) -> Callable[[], float]:
    """What to measure with: CPU time where the graph runs on the calling thread alone.

    By wall time, other processes on a busy machine make large batches look slow.
    """
    settings, native = session.settings, session.bundle.manifest.native
    is_alone = settings.threads == 1 and settings.device == "cpu" and native is None
    return time.thread_time if is_alone else time.perf_counter


def make_zeros(session: Session) -> dict[str, NDArray[np.generic]]:
    """One item of zeros, for a graph whose items have one shape."""
    import numpy as np

    sizes = (
        (info, [1 if axis == info.batch_axis else side for axis, side in enumerate(info.shape)])
        for info in session.describe_tensors()[0]
    )
    return {info.name: np.zeros(shape, info.dtype) for info, shape in sizes}


def find_best_batch(
    session: Session, sample: Mapping[str, NDArray[np.generic]], *, budget_s: float = BUDGET_S
) -> tuple[BatchLimits, dict[int, float]]:
    """The largest batch size at the lowest cost per item, and the seconds per item by batch size.

    Larger batches share the fixed costs (waking a thread, a step of the event loop), so of equally
    good sizes the largest is best. These costs are nothing to a slow model, of which each item in a
    batch delays the others: there the smallest is best, and sizes are measured only as long as the
    cost falls and `SLOW_BUDGET_S` allows.

    `sample` is one decoded item, which is repeated on its batch axes. A model without a batch axis,
    or that fails on several items, gets a batch size of 1.
    """
    import numpy as np

    clock = choose_clock(session)
    axes = session.typed.inputs.axes
    costs: dict[int, float] = {}
    end = time.monotonic() + budget_s
    for size in SIZES:
        if size > 1 and not session.typed.joins:
            break
        batch = sample
        if size > 1:
            batch = {name: np.repeat(v, size, axis=axes[name] or 0) for name, v in sample.items()}
        times = []
        try:
            for _ in range(REPEATS):
                start = clock()
                session.predict(batch)
                times.append((clock() - start) / size)
        except Exception:
            break  # the model does not support batches
        costs[size] = min(times)
        if size == 1 and costs[1] > SLOW_S:
            end += SLOW_BUDGET_S - budget_s
        if time.monotonic() + plan_s(costs) > end:
            break
    return choose_batch(costs), costs


def plan_s(costs: Mapping[int, float]) -> float:
    """How long the next size of a slow model will take to measure, forever if it is no use; else 0.

    `costs` are the measured seconds per item by batch size.
    """
    *before, (size, cost) = costs.items()
    if costs[1] <= SLOW_S:
        return 0.0
    falls = all(cost * SLOW_MARGIN < other for _, other in before)
    return 2 * size * cost * REPEATS if falls else math.inf


def choose_batch(costs: Mapping[int, float]) -> BatchLimits:
    """The best size by the measured seconds per item: see `find_best_batch`."""
    if not costs:
        return BatchLimits(1)
    slow = costs[1] > SLOW_S
    limit = min(costs.values()) * (SLOW_MARGIN if slow else COST_MARGIN)
    good = [size for size, cost in costs.items() if cost <= limit]
    return BatchLimits(min(good) if slow else max(good))


def find_inline_batch(costs: Mapping[int, float]) -> BatchLimits | None:
    """The largest batch that is fast enough for the event loop's thread; None if there is none.

    `costs` are the measured seconds per item by batch size.
    """
    least = min(costs.values(), default=0.0)
    fast = [size for size, cost in costs.items() if size * cost <= INLINE_S]
    good = [size for size in fast if costs[size] <= INLINE_MARGIN * least]
    return BatchLimits(max(good)) if good else None


def choose_chunk_size(costs: Mapping[int, float], max_batch_size: int) -> int:
    """How many items of one large request to run at once: as many as take `INLINE_S`.

    It is at least `max_batch_size`. `costs` are the measured seconds per item by batch size.
    """
    least = min(costs.values(), default=0.0)
    return max(max_batch_size, int(INLINE_S / least)) if least else max_batch_size
