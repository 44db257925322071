"""Stores the feedback of a server's users, without blocking predictions.

Every worker process has one; they write to the same file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from modelpad.feedback import Correction, FeedbackStore, Receipt, make_item
from modelpad.server.models import ServedModel


@dataclass(frozen=True, slots=True)
class Submission:
    """What a client says about a prediction: the input's values, and the labels."""

    values: Mapping[str, object]
    predicted: str
    label: str
    version: int
    note: str = ""


class FeedbackCollector:
    """Checks submissions by decoding their inputs, and stores them."""

    def __init__(self, store: FeedbackStore) -> None:
        """`store` exists. Nothing is shared with other processes but its file."""
        self._store = store
        # One at a time: a decoded picture may have a hundred megabytes.
        self._turn = asyncio.Lock()

    async def add(self, model: ServedModel, submission: Submission) -> Receipt:
        """Stores a submission durably. Raises as the fields and `FeedbackStore.add` do."""
        async with self._turn:
            return await asyncio.to_thread(self._add, model, submission)

    async def undo(self, id: str, token: str) -> None:
        """Deletes what a submission stored. Raises as `FeedbackStore.undo`."""
        await asyncio.to_thread(self._store.undo, id, token)

    def _add(self, model: ServedModel, submission: Submission) -> Receipt:
        model.typed.inputs.decode(submission.values)
        correction = Correction(
            model.name,
            submission.version,
            make_item(model.typed.signature.inputs, submission.values),
            submission.predicted,
            submission.label,
            submission.note,
        )
        return self._store.add(correction, datetime.now(UTC))
