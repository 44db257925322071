"""What a job is: what was asked for, how far it is, and how it ended."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from modelpad.foreign_json import Json

State = Literal["queued", "running", "done", "failed", "cancelled", "lost"]
QUEUED: State = "queued"
RUNNING: State = "running"
DONE: State = "done"
FAILED: State = "failed"
CANCELLED: State = "cancelled"
LOST: State = "lost"
UNFINISHED = (QUEUED, RUNNING)


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job to be done: its kind, and what that kind needs to know, as JSON.

    Only `owner` may see the job; "" where there are no API keys. A second request of the owner with
    the same `key` is the same job.
    """

    kind: str
    params: Mapping[str, Json] = field(default_factory=dict)
    owner: str = ""
    key: str | None = None

    @property
    def digest(self) -> str:
        """The SHA-256 of kind and parameters, in hex."""
        text = json.dumps([self.kind, dict(self.params)], sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is now.

    Times are seconds since 1970 (UTC), None for what has not happened. `fraction` is between 0 and
    1, `step` says what is being done. `previews` counts the pictures shown so far; the last one is
    in the job's folder. `attempt` is 1 when a job runs for the first time. After `expires`, a
    finished job is deleted with all its files. `error` has a message and a hint. While `committing`
    is set, the job's result is being put in place, and it cannot be cancelled.
    """

    id: str
    kind: str
    owner: str
    state: State
    params: dict[str, Json]
    created: float
    started: float | None = None
    finished: float | None = None
    expires: float | None = None
    fraction: float = 0.0
    step: str = ""
    previews: int = 0
    attempt: int = 0
    committing: bool = False
    error: dict[str, str] | None = None
    result: dict[str, Json] | None = None

    @property
    def is_finished(self) -> bool:
        """Whether it will not change any more."""
        return self.state not in UNFINISHED


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that a job has logged; `number` counts from 1, `time` is in seconds since 1970."""

    number: int
    time: float
    text: str
