"""What a server with `--studio` adds: jobs, and the pictures and videos that they work on.

Every worker process has a `Studio`. They share the queue's files and one process that runs the
jobs, which is started again when it has ended, and ends with the last of them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING

from modelpad.bundle.locks import try_lock
from modelpad.collection import Collections
from modelpad.errors import NotFound, Overloaded
from modelpad.jobs import Job, JobQueue, JobRequest, LogLine, QueueLimits, load_kind
from modelpad.jobs.changes import ChangeWatch
from modelpad.jobs.queue import SERVERS_LOCK, WORKER_LOCK
from modelpad.jobs.uploads import FOLDER, Uploads

if TYPE_CHECKING:
    from modelpad.foreign_json import Json
    from modelpad.jobs import WorkSettings

log = logging.getLogger("modelpad.server")

WORKER: tuple[str, ...] = (sys.executable, "-P", "-m", "modelpad.jobs.worker")
LOOK_S = 1.0  # between looks whether the worker is there
START_S = 5.0  # for a worker to start
JOIN_TRIES, JOIN_S = 20, 0.005
POLL_S = 0.2  # between looks whether a job has changed
BEAT_S = 10.0  # between signs of life on a stream
MAX_STREAMS = 100
RETRY_AFTER_S = 10

Event = Job | LogLine | None


class Studio:
    """The jobs and collections of a server."""

    def __init__(self, settings: WorkSettings, command: Sequence[str] = ()) -> None:
        """Creates the queue's files. `command` starts a worker, given settings: else `WORKER`.

        Raises `StoreError` if the folder cannot be used.
        """
        self.settings = settings
        self.queue = JobQueue(settings.folder, QueueLimits(keep_s=settings.keep_s))
        self.queue.create()
        self.collections = Collections(settings.collections)
        self.uploads = Uploads(settings.folder / FOLDER)
        self.stopping = False
        self.turn = asyncio.Lock()  # one at a time: a decoded picture may have a hundred megabytes
        self.paints_videos = load_kind("video").is_installed
        self._command = command or WORKER
        self._watch = ChangeWatch(self.queue.path)
        self._streams = 0
        self._servers: int | None = None
        self._join()
        self._worker: subprocess.Popen[bytes] | None = None
        self._started = float("-inf")

    async def submit(
        self, request: JobRequest, pinned: Mapping[str, Json] | None = None
    ) -> tuple[Job, bool]:
        """Adds a job; gives it, and whether it is new. `pinned` replaces some of its parameters.

        Raises as `load_kind`, `require_package`, the kind's `check`, and `JobQueue.submit`.
        """

        def submit() -> tuple[Job, bool]:
            before = self.queue.find_same(request)
            if before is not None:
                return before, False
            params = {**request.params, **(pinned or {})}
            self._require_own(params, request.owner)
            kind = load_kind(request.kind)
            kind.require_package()
            return self.queue.submit(request, kind.check(params, self.settings))

        return await asyncio.to_thread(submit)

    async def find(self, id: str, owner: str | None) -> Job:
        """A job of that owner, or of any without one. Raises `NotFound`."""
        job = await asyncio.to_thread(self.queue.find, id)
        if owner is not None and job.owner != owner:
            raise NotFound(f"There is no job {id[:40]!r}.")
        return job

    async def follow(self, job: Job, after: int) -> AsyncIterator[Event]:
        """The job whenever it changes, and its log after line `after`, until it has ended.

        None is a sign of life.
        """
        self._streams += 1
        try:
            seen, sent, beat = -1, None, time.monotonic()
            while not self.stopping:
                version = self._watch.read_version()
                if version != seen:
                    seen = version
                    job, lines = await asyncio.to_thread(self._read, job.id, after)
                    for line in lines:
                        after = line.number
                        yield line
                    if job != sent:
                        sent, beat = job, time.monotonic()
                        yield job
                    if job.is_finished:
                        return
                if time.monotonic() - beat > BEAT_S:
                    beat = time.monotonic()
                    yield None
                await asyncio.sleep(POLL_S)
        except NotFound:
            return  # it has expired
        finally:
            self._streams -= 1

    def check_streams(self) -> None:
        """Raises `Overloaded` if too many streams are open."""
        if self._streams >= MAX_STREAMS:
            raise Overloaded(
                "Too many streams of events are open.",
                hint="Close some, or ask for the job itself.",
                retry_after_s=RETRY_AFTER_S,
            )

    async def keep_worker(self) -> None:
        """Starts the process that runs jobs whenever there is none."""
        while True:
            try:
                self._join()
                self._start_worker()
            except OSError as error:
                log.warning("Jobs cannot be run: %s", error)
            await asyncio.sleep(LOOK_S)

    def close(self) -> None:
        """Leaves the jobs to the other servers; without any, they wait."""
        self.stopping = True
        if self._servers is not None:
            os.close(self._servers)
            self._servers = None

    def _join(self) -> None:
        """Tells the worker that a server is there; the worker may be looking just now."""
        for _ in range(JOIN_TRIES):
            if self._servers is None:
                self._servers = try_lock(self.settings.folder / SERVERS_LOCK, shared=True)
            if self._servers is not None:
                return
            time.sleep(JOIN_S)

    def _read(self, id: str, after: int) -> tuple[Job, list[LogLine]]:
        """A job, and its log up to then."""
        job = self.queue.find(id)
        return job, self.queue.logs(id, after)

    def _require_own(self, params: Mapping[str, Json], owner: str) -> None:
        """Raises `NotFound` for the collection or the video of another owner."""
        collection, video = params.get("collection"), params.get("video")
        if isinstance(collection, str):
            self.collections.open(collection, owner)
        if isinstance(video, str):
            self.uploads.open(video, owner)

    def _start_worker(self) -> None:
        if self._worker is not None and self._worker.poll() is None:
            return
        held = try_lock(self.settings.folder / WORKER_LOCK)
        if held is None or time.monotonic() - self._started < START_S:
            if held is not None:
                os.close(held)
            return
        os.close(held)
        self._started = time.monotonic()
        self._worker = subprocess.Popen(
            [*self._command, self.settings.to_json()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=make_environment(),
            process_group=0,  # Ctrl-C in a terminal does not reach it
        )


def make_environment() -> dict[str, str]:
    """The variables of a worker: without modelpad's own, which contain API keys."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MODELPAD_")}
