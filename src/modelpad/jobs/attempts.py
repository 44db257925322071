"""How jobs change while they run: claimed, reported on, finished, or given back.

An attempt is named by the job and its number. Whatever it reports counts only while the job is
running and its number is still the job's: a process that was given up cannot change anything.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from modelpad.databases import open_database, write_transaction
from modelpad.jobs.database import JOBS, find_jobs
from modelpad.jobs.job import DONE, FAILED, LOST, QUEUED, RUNNING, Job, State

if TYPE_CHECKING:
    from modelpad.errors import ModelpadError
    from modelpad.foreign_json import Json
    from modelpad.jobs.queue import JobQueue

MAX_LOG_LINES = 2000
MAX_LINE_CHARS = 2000
OURS = "WHERE id = ? AND attempt = ? AND state = 'running'"


class Attempts:
    """The attempts at the jobs of a queue. Every method raises `StoreError`."""

    def __init__(self, queue: JobQueue) -> None:
        """`queue` exists."""
        self.queue = queue

    def claim(self, now: float | None = None) -> Job | None:
        """Takes the job that has waited for longest, if any; its attempt begins."""
        now = time.time() if now is None else now
        with open_database(self.queue.path, JOBS) as connection, write_transaction(connection):
            waiting = find_jobs(connection, "WHERE state = ? ORDER BY number LIMIT 1", (QUEUED,))
            if not waiting:
                return None
            id = waiting[0].id
            connection.execute(
                "UPDATE jobs SET state = ?, attempt = attempt + 1, started = ? WHERE id = ?",
                (RUNNING, now, id),
            )
            return find_jobs(connection, "WHERE id = ?", (id,))[0]

    def is_current(self, job: Job) -> bool:
        """Whether the job is still running, in this attempt."""
        with open_database(self.queue.path, JOBS) as connection:
            return bool(find_jobs(connection, OURS, (job.id, job.attempt)))

    def report(self, job: Job, fraction: float, step: str, previews: int) -> bool:
        """Updates the progress; gives False if the attempt does not count any more."""
        with open_database(self.queue.path, JOBS, durable=False) as connection:
            changed = connection.execute(
                f"UPDATE jobs SET fraction = ?, step = ?, previews = ? {OURS}",
                (fraction, step, previews, job.id, job.attempt),
            )
            return changed.rowcount == 1

    def log(self, job: Job, text: str) -> bool:
        """Adds a line to the log; gives False if the attempt does not count any more."""
        with (
            open_database(self.queue.path, JOBS, durable=False) as connection,
            write_transaction(connection),
        ):
            if not find_jobs(connection, OURS, (job.id, job.attempt)):
                return False
            number = (
                1
                + connection.execute(
                    "SELECT coalesce(max(number), 0) FROM logs WHERE job = ?", (job.id,)
                ).fetchone()[0]
            )
            row = (job.id, number, time.time(), text[:MAX_LINE_CHARS])
            connection.execute("INSERT INTO logs VALUES (?, ?, ?, ?)", row)
            connection.execute(
                "DELETE FROM logs WHERE job = ? AND number <= ?", (job.id, number - MAX_LOG_LINES)
            )
            return True

    def begin_commit(self, job: Job) -> bool:
        """From now on the job cannot be cancelled; False if the attempt does not count any more.

        That stays so in later attempts, as this one may end after its result is in place.
        """
        with open_database(self.queue.path, JOBS) as connection:
            changed = connection.execute(
                f"UPDATE jobs SET committing = 1 {OURS}", (job.id, job.attempt)
            )
            return changed.rowcount == 1

    def finish(self, job: Job, result: Mapping[str, Json]) -> bool:
        """The job is done; gives False if the attempt does not count any more."""
        return self._end(job, DONE, result=json.dumps(dict(result)))

    def fail(self, job: Job, error: ModelpadError) -> bool:
        """The job has failed, and is not tried again."""
        return self._end(job, FAILED, error=describe(error.message, error.hint))

    def lose(self, job: Job, reason: str) -> bool:
        """The job is reported as lost: it ended in the middle and cannot go on."""
        hint = "Nothing of it was kept. Start it again."
        return self._end(job, LOST, error=describe(reason, hint))

    def give_back(self, job: Job, *, counted: bool) -> bool:
        """The job waits again, to be resumed. Without `counted`, this attempt was no failure."""
        with open_database(self.queue.path, JOBS) as connection:
            changed = connection.execute(
                f"UPDATE jobs SET state = ?, attempt = attempt + ? {OURS}",
                (QUEUED, 0 if counted else -1, job.id, job.attempt),
            )
            return changed.rowcount == 1

    def remove_expired(self, now: float | None = None) -> list[Job]:
        """Deletes finished jobs whose time is up, with their files; gives those."""
        now = time.time() if now is None else now
        with open_database(self.queue.path, JOBS) as connection:
            old = find_jobs(connection, "WHERE expires < ?", (now,))
            for job in old:
                shutil.rmtree(self.queue.folder_of(job.id), ignore_errors=True)
                with write_transaction(connection):
                    connection.execute("DELETE FROM logs WHERE job = ?", (job.id,))
                    connection.execute("DELETE FROM jobs WHERE id = ?", (job.id,))
        return old

    def _end(
        self, job: Job, state: State, *, result: str | None = None, error: str | None = None
    ) -> bool:
        now = time.time()
        with open_database(self.queue.path, JOBS) as connection:
            changed = connection.execute(
                "UPDATE jobs SET state = ?, finished = ?, expires = ?, result = ?, error = ?,"
                f" committing = 0, fraction = CASE ? WHEN 'done' THEN 1 ELSE fraction END {OURS}",
                (
                    *(state, now, now + self.queue.limits.keep_s, result, error, state),
                    *(job.id, job.attempt),
                ),
            )
            return changed.rowcount == 1


def describe(message: str, hint: str) -> str:
    """An error as JSON."""
    return json.dumps({"message": message, "hint": hint})
