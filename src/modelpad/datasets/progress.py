"""Progress reports of long-running work on a data set.

Loading, downloading and unpacking call a `Progress` function; printing is the caller's business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Action = Literal["download", "unpack", "read"]
Unit = Literal["bytes", "images"]


@dataclass(frozen=True, slots=True)
class ProgressUpdate:
    """What is done so far. `subject` names the data set or file; `total` is None if unknown.

    The last update of an action has `finished` set, whether or not the total was known.
    """

    action: Action
    subject: str
    done: int
    total: int | None
    unit: Unit
    finished: bool = False


Progress = Callable[[ProgressUpdate], None]
"""Called often, from the thread that loads the data: it should return quickly."""


def ignore_progress(_: ProgressUpdate) -> None:
    """A `Progress` that reports nothing."""
