"""Many items through a session without an engine: in batches, on the caller's thread."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

from modelpad.engine.request import InferenceRequest
from modelpad.engine.running import RunningBatch
from modelpad.errors import ModelpadError

if TYPE_CHECKING:
    from modelpad.engine.session import Session
    from modelpad.fields.arrays import Arrays


def answer_batch(
    session: Session,
    items: Sequence[Mapping[str, object]],
    encode: Callable[[Mapping[str, object], Arrays], dict[str, object]],
) -> list[dict[str, object] | ModelpadError]:
    """The encoded outputs of each item's values, or the error that it fails with.

    Items whose tensors have the same shape run together. `encode` gets one item's values and
    outputs.
    """
    loop = asyncio.new_event_loop()  # it never runs: requests belong to one
    try:
        requests = [
            InferenceRequest(
                time.monotonic(),
                math.inf,
                prepare=partial(session.typed.decode, values),
                finish=partial(encode, values),
                future=loop.create_future(),
            )
            for values in items
        ]
        batch = RunningBatch(requests)
        batch.execute(session)
    finally:
        loop.close()
    results = {id(request): result for request, result in batch.done}
    found = [results[id(request)] for request in requests]
    return cast("list[dict[str, object] | ModelpadError]", found)
