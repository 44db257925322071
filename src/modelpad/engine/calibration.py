"""How many items are best run at once: measured on this machine, for this model."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from modelpad.engine.batching import BatchLimits

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from modelpad.engine.session import Session

SIZES = (1, 2, 4, 8, 16, 32)
BUDGET_S = 0.3
AS_GOOD = 1.05  # a larger batch is taken while an item costs at most this much more than at best
UNMEASURED = BatchLimits(4)
SHORT_S = 0.004  # a batch that may run on the event loop's own thread
WORTH = 1.2  # what an item of it may cost more than at best: as much as threads would cost


def find_best_batch(
    session: Session, sample: Mapping[str, NDArray[np.generic]], *, budget_s: float = BUDGET_S
) -> tuple[BatchLimits, dict[int, float]]:
    """The largest batch at which an item costs no more, and seconds an item by size.

    What a batch costs besides its items (waking a thread, a step of the event loop) is shared by
    more of them, so of sizes that are as good the largest is the best.

    `sample` is one decoded item (1, ...), repeated. A model too slow for the budget is not timed,
    and gets small batches; one that fails on several items gets none.
    """
    import numpy as np

    costs: dict[int, float] = {}
    end = time.monotonic() + budget_s
    for size in SIZES:
        batch = {name: np.repeat(array, size, axis=0) for name, array in sample.items()}
        times = []
        try:
            for _ in range(3):
                start = time.perf_counter()
                session.predict(batch)
                times.append((time.perf_counter() - start) / size)
        except Exception:
            break  # it does not take several: one at a time, then
        costs[size] = min(times)
        if size == 1 and costs[1] * 8 > budget_s:
            return UNMEASURED, costs
        if time.monotonic() > end:
            break
    least = min(costs.values(), default=0.0)
    good = [size for size, cost in costs.items() if cost <= AS_GOOD * least]
    return BatchLimits(max(good, default=1)), costs


def find_short_batch(costs: Mapping[int, float]) -> BatchLimits | None:
    """The largest batch that is short enough for the event loop's own thread; None without one.

    `costs` are seconds an item by size, as measured.
    """
    least = min(costs.values(), default=0.0)
    short = [size for size, cost in costs.items() if size * cost <= SHORT_S]
    good = [size for size in short if costs[size] <= WORTH * least]
    return BatchLimits(max(good)) if good else None


def choose_piece(costs: Mapping[int, float], max_batch_size: int) -> int:
    """How many items of one large request to run at once: as many as take `SHORT_S`.

    At least `max_batch_size`. `costs` are seconds an item by size, as measured.
    """
    least = min(costs.values(), default=0.0)
    return max(max_batch_size, int(SHORT_S / least)) if least else max_batch_size
