"""What a running job sees of the queue: it reports progress, and learns that it must stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from modelpad.jobs.attempts import Attempts
from modelpad.jobs.job import Job
from modelpad.jobs.settings import WorkSettings

REPORT_S = 0.25  # between reports
PREVIEW = "preview"


class JobStopped(BaseException):
    """The attempt does not count any more: the job was cancelled, or another attempt runs."""


class Work:
    """An attempt at a job, in the process that runs it.

    `folder` is the job's own, and the same in every attempt. Every method raises `JobStopped` once
    the attempt does not count any more; nothing should catch that.
    """

    def __init__(
        self,
        job: Job,
        attempts: Attempts,
        settings: WorkSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.job, self.settings = job, settings
        self.folder: Path = attempts.queue.folder_of(job.id)
        self._attempts, self._clock = attempts, clock
        self._fraction, self._step, self._previews = job.fraction, job.step, job.previews
        self._reported = float("-inf")

    def progress(self, fraction: float, step: str = "") -> None:
        """Reports how far the job is, between 0 and 1, and what it is doing.

        Cheap enough for every step: only some calls are stored.
        """
        changed = step not in ("", self._step)
        self._fraction = min(1.0, max(0.0, fraction))
        self._step = step or self._step
        if changed or self._clock() - self._reported >= REPORT_S:
            self._report()

    def log(self, text: str) -> None:
        """Adds a line to the job's log."""
        if not self._attempts.log(self.job, text):
            raise JobStopped

    def preview(self, picture: bytes) -> None:
        """Shows a picture (PNG or JPEG) of the work so far; it replaces the one before."""
        staged = self.folder / f".{PREVIEW}.new"
        staged.write_bytes(picture)
        staged.replace(self.folder / PREVIEW)
        self._previews += 1
        self._report()

    @property
    def may_have_committed(self) -> bool:
        """Whether an earlier attempt began to put its result in place, and may have done so."""
        return self.job.committing

    def begin_commit(self) -> None:
        """Call it just before the result is put in place: the job cannot be cancelled any more.

        The process may still end in between. Then the next attempt must find out whether the
        result is in place, if putting it there twice would do harm: see `may_have_committed`.
        """
        if not self._attempts.begin_commit(self.job):
            raise JobStopped

    def _report(self) -> None:
        self._reported = self._clock()
        if not self._attempts.report(self.job, self._fraction, self._step, self._previews):
            raise JobStopped
