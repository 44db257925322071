"""The queue of jobs as clients see it: submit, look, cancel.

Everything is in one SQLite file. What runs the jobs changes them in `attempts.py`.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelpad.databases import create_database, open_database, write_transaction
from modelpad.errors import JobConflict, JobsFull, NotFound
from modelpad.jobs.database import FILE, JOBS, find_jobs
from modelpad.jobs.job import CANCELLED, QUEUED, UNFINISHED, Job, JobRequest, LogLine

if TYPE_CHECKING:
    import sqlite3

    from modelpad.foreign_json import Json

ID_BYTES = 9
WORKER_LOCK = ".worker.lock"  # held by the process that runs the jobs
SERVERS_LOCK = ".servers.lock"  # shared by all servers that use them
FOLDERS = "folders"
KEEP_S = 7 * 24 * 3600.0
RETRY_AFTER_S = 30


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How many jobs may be unfinished, by owner and in total; how long finished ones are kept."""

    per_owner: int = 10
    total: int = 1000
    keep_s: float = KEEP_S


class JobQueue:
    """The jobs in a folder; any number of threads and processes may use it at once.

    Every method raises `StoreError` if the folder cannot be used.
    """

    def __init__(self, folder: Path, limits: QueueLimits | None = None) -> None:
        """Touches nothing yet: `create` makes the files, the other methods need them."""
        self.folder = folder
        self.path = folder / FILE
        self.limits = limits or QueueLimits()

    def create(self) -> None:
        """Creates the files, unless they exist."""
        create_database(self.path, JOBS)
        (self.folder / FOLDERS).mkdir(exist_ok=True, mode=0o700)

    def folder_of(self, id: str) -> Path:
        """The folder of a job's files, which may not exist yet."""
        return self.folder / FOLDERS / id

    def find_same(self, request: JobRequest) -> Job | None:
        """The job of an earlier request with the same key, if any. Raises `JobConflict`."""
        with open_database(self.path, JOBS) as connection:
            return self._find_same(connection, request)

    def submit(
        self,
        request: JobRequest,
        params: Mapping[str, Json] | None = None,
        now: float | None = None,
    ) -> tuple[Job, bool]:
        """Adds a job durably; gives it, and whether it is new: its key may be of an earlier one.

        `params` are stored, by default those of the request.

        Raises:
            JobConflict: the key is of a job with other parameters.
            JobsFull: too many jobs are unfinished.
        """
        now = time.time() if now is None else now
        with open_database(self.path, JOBS) as connection, write_transaction(connection):
            before = self._find_same(connection, request)
            if before is not None:
                return before, False
            self._check_room(connection, request.owner)
            id = secrets.token_hex(ID_BYTES)
            row = {
                "id": id,
                "kind": request.kind,
                "owner": request.owner,
                "state": QUEUED,
                "params": json.dumps(dict(request.params if params is None else params)),
                "created": now,
                "request_key": request.key,
                "digest": request.digest,
            }
            places = ", ".join(f":{name}" for name in row)
            connection.execute(f"INSERT INTO jobs ({', '.join(row)}) VALUES ({places})", row)
            (job,) = find_jobs(connection, "WHERE id = ?", (id,))
            return job, True

    def find(self, id: str) -> Job:
        """One job. Raises `NotFound`."""
        with open_database(self.path, JOBS) as connection:
            return find_one(connection, id)

    def jobs(self, owner: str | None = None, states: Sequence[str] = ()) -> list[Job]:
        """All jobs, or one owner's, the newest first; only those in `states`, if any are given."""
        conditions, given = ["1"], list[object](states)
        if states:
            conditions.append(f"state IN ({', '.join('?' * len(states))})")
        if owner is not None:
            conditions.append("owner = ?")
            given.append(owner)
        with open_database(self.path, JOBS) as connection:
            where = f"WHERE {' AND '.join(conditions)} ORDER BY number DESC"
            return find_jobs(connection, where, tuple(given))

    def logs(self, id: str, after: int = 0) -> list[LogLine]:
        """What a job has logged, after line number `after`. Raises `NotFound`."""
        with open_database(self.path, JOBS) as connection:
            find_one(connection, id)
            rows = connection.execute(
                "SELECT number, time, text FROM logs WHERE job = ? AND number > ? ORDER BY number",
                (id, after),
            )
            return [LogLine(*row) for row in rows]

    def cancel(self, id: str, now: float | None = None) -> Job:
        """Cancels a job that is waiting or running; what runs it notices, and stops.

        A job that is cancelled already stays so. Raises `NotFound`, and `JobConflict` for a job
        that has ended otherwise, or is just putting its result in place.
        """
        now = time.time() if now is None else now
        with open_database(self.path, JOBS) as connection, write_transaction(connection):
            job = find_one(connection, id)
            if job.state == CANCELLED:
                return job
            if job.is_finished or job.committing:
                state = "is just being saved" if job.committing else f"is {job.state}"
                raise JobConflict(f"The job {state} and cannot be cancelled.")
            connection.execute(
                "UPDATE jobs SET state = ?, finished = ?, expires = ? WHERE id = ?",
                (CANCELLED, now, now + self.limits.keep_s, id),
            )
            return find_one(connection, id)

    def _find_same(self, connection: sqlite3.Connection, request: JobRequest) -> Job | None:
        if request.key is None:
            return None
        where = "WHERE owner = ? AND request_key = ?"
        row = connection.execute(
            f"SELECT digest FROM jobs {where}", (request.owner, request.key)
        ).fetchone()
        if row is None:
            return None
        if row[0] != request.digest:
            raise JobConflict(
                "This idempotency key was used for a different job.",
                hint="Use a new key for each job.",
            )
        return find_jobs(connection, where, (request.owner, request.key))[0]

    def _check_room(self, connection: sqlite3.Connection, owner: str) -> None:
        places = ", ".join("?" * len(UNFINISHED))
        count, own = connection.execute(
            f"SELECT count(*), total(owner = ?) FROM jobs WHERE state IN ({places})",
            (owner, *UNFINISHED),
        ).fetchone()
        limits = self.limits
        if count >= limits.total or own >= limits.per_owner:
            raise JobsFull(
                f"At most {min(limits.per_owner, limits.total):,} jobs may wait or run at a time.",
                hint="Wait until one is finished, or cancel one.",
                retry_after_s=RETRY_AFTER_S,
            )


def find_one(connection: sqlite3.Connection, id: str) -> Job:
    """One job. Raises `NotFound`."""
    found = find_jobs(connection, "WHERE id = ?", (id,))
    if not found:
        raise NotFound(f"There is no job {id[:40]!r}.", hint="Finished jobs are deleted in time.")
    return found[0]
