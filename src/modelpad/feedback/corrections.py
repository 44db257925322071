"""Corrections as labelled examples: half of them to train on, half to evaluate with.

The halves are chosen by the item's id, so that an item stays in its half for good: no version is
trained on what `modelpad promote` evaluates it with.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from modelpad.errors import UsageError
from modelpad.feedback.location import locate_feedback
from modelpad.feedback.store import FeedbackStore

Part = Literal["training", "held-out"]
TRAINING: Part = "training"
HELD_OUT: Part = "held-out"


class LabelledItem(NamedTuple):
    """A correction: the bytes as they were sent, the right label, its id, and when (UTC)."""

    item: bytes
    label: str
    id: str
    created: str


def read_corrections(
    location: str | Path, model: str, part: Part | None = TRAINING
) -> Iterator[LabelledItem]:
    """The labelled items of `model`: those to train on, those `HELD_OUT`, or None for all.

    `location` is as for `--feedback`: a folder or `sqlite:PATH`. A picture's item is its file (PNG,
    JPEG, ...), anything else is JSON of the values by field name. Confirmed predictions count as
    much as corrected ones. The oldest come first, one at a time.

    Raises `StoreError` if there is no feedback, or it cannot be read, and `UsageError` for an
    invalid location.
    """
    if part not in (None, TRAINING, HELD_OUT):
        raise UsageError(f"{part!r} is no part of the corrections.")
    for entry, item in FeedbackStore(locate_feedback(str(location))).items(model):
        if part is None or part == choose_part(entry.id):
            yield LabelledItem(item.body, entry.label, entry.id, entry.created)


def choose_part(id: str) -> Part:
    """The part of an item, by the last bit of its id, a hash of the item."""
    return HELD_OUT if int(id[-1], 16) % 2 else TRAINING
