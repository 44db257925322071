"""The process that runs the jobs of a folder: `python -m modelpad.jobs.worker SETTINGS`.

There is one for each folder, however many servers use it: it holds a lock for as long as it lives.
It starts a process for each attempt, watches it, and ends when no server is left; its jobs then
wait for the next one. Whatever is killed, the others find out by the locks, which the system
releases.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from modelpad.bundle.locks import try_lock
from modelpad.collection import Collections
from modelpad.errors import JobFailed, NotFound, StoreError
from modelpad.jobs.attempts import Attempts
from modelpad.jobs.changes import ChangeWatch
from modelpad.jobs.job import RUNNING, Job
from modelpad.jobs.kinds import load_kind
from modelpad.jobs.limits import (
    choose_cpus,
    kill_group,
    list_cpus,
    resident_bytes,
    thread_environment,
)
from modelpad.jobs.queue import SERVERS_LOCK, WORKER_LOCK
from modelpad.jobs.runner import LOCK, SHORT_OF_MEMORY, open_attempts
from modelpad.jobs.settings import WorkSettings
from modelpad.jobs.uploads import FOLDER, Uploads

RUNNER = (sys.executable, "-P", "-m", "modelpad.jobs.runner")
OUTPUT = "errors.txt"
TICK_S = 0.1
SWEEP_S = 60.0
MEMORY_S = 1.0
MAX_ATTEMPTS = 3
TOO_OFTEN = f"The process of the job ended unexpectedly, {MAX_ATTEMPTS} times."


@dataclass(slots=True)
class Running:
    """An attempt whose process this one has started."""

    job: Job
    slot: int
    process: subprocess.Popen[bytes]
    deadline: float


class JobWorker:
    """Runs the jobs of a queue, at most `slots` at a time."""

    def __init__(
        self,
        settings: WorkSettings,
        command: Sequence[str] = RUNNER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`command` starts the process of an attempt, given its arguments."""
        self.attempts: Attempts = open_attempts(settings)
        self.settings = settings
        self._command, self._clock = command, clock
        self._running: dict[int, Running] = {}
        self._watch = ChangeWatch(self.attempts.queue.path)
        self._abandoned = True  # there may be jobs of a worker before this one
        self._swept = self._measured = float("-inf")

    def step(self) -> None:
        """Looks at every attempt, and starts those that there is room for."""
        now = self._clock()
        changed = self._watch.has_changed()
        for running in list(self._running.values()):
            self._look_at(running, now, changed=changed)
        if now - self._measured >= MEMORY_S:
            self._measured = now
            self._check_memory()
        if self._abandoned:
            self._recover()
        if changed or self._abandoned:
            self._start_waiting(now)
        if now - self._swept >= SWEEP_S:
            self._swept = now
            self._remove_expired()

    def stop(self) -> None:
        """Kills every attempt; its job waits for the next worker."""
        for running in list(self._running.values()):
            self._end(running)
            self.attempts.give_back(running.job, counted=False)
        self._watch.close()

    def _look_at(self, running: Running, now: float, *, changed: bool) -> None:
        if running.process.poll() is not None:
            self._end(running)
            self._settle(running.job)
        elif changed and not self.attempts.is_current(running.job):
            self._end(running)  # cancelled
        elif now > running.deadline:
            self._end(running)
            limit_s = load_kind(running.job.kind).time_limit_s
            error = JobFailed(
                f"The job took longer than {limit_s:,.0f} seconds.", hint="Give it less to do."
            )
            self.attempts.fail(running.job, error)

    def _check_memory(self) -> None:
        for running in list(self._running.values()) if self.settings.memory_bytes else ():
            if resident_bytes(running.process.pid) > self.settings.memory_bytes:
                self._end(running)
                self.attempts.fail(running.job, JobFailed(SHORT_OF_MEMORY))

    def _remove_expired(self) -> None:
        self.attempts.remove_expired()
        Collections(self.settings.collections).remove_expired()
        with suppress(StoreError):  # whoever sends a file is told
            Uploads(self.settings.folder / FOLDER).remove_expired()

    def _end(self, running: Running) -> None:
        """Kills what is left of an attempt, and frees its slot."""
        kill_group(running.process.pid)
        running.process.wait()
        self._running.pop(running.slot, None)
        self._watch.expect_change()

    def _settle(self, job: Job) -> None:
        """Decides what becomes of a job whose process has ended without a result."""
        if not self.attempts.is_current(job):
            return
        try:
            kind = load_kind(job.kind)
        except NotFound as error:  # of a newer modelpad
            self.attempts.fail(job, error)
            return
        if not kind.resumes:
            self.attempts.lose(job, "The process of the job ended unexpectedly.")
        elif job.attempt >= MAX_ATTEMPTS:
            self.attempts.lose(job, TOO_OFTEN)
        else:
            self.attempts.give_back(job, counted=True)

    def _recover(self) -> None:
        """Settles jobs that a worker before this one has left, once their processes are gone."""
        ours = {running.job.id for running in self._running.values()}
        left = 0
        for job in self.attempts.queue.jobs(states=(RUNNING,)):
            if job.id in ours:
                continue
            if self._is_gone(job):
                self._settle(job)
            else:
                left += 1
        self._abandoned = left > 0

    def _is_gone(self, job: Job) -> bool:
        """Whether no process has the job's lock."""
        folder = self.attempts.queue.folder_of(job.id)
        if not folder.is_dir():
            return True
        descriptor = try_lock(folder / LOCK)
        if descriptor is None:
            return False
        os.close(descriptor)
        return True

    def _start_waiting(self, now: float) -> None:
        for slot in range(self.settings.slots):
            if slot in self._running:
                continue
            job = self.attempts.claim()
            if job is None:
                return
            self._start(job, slot, now)

    def _start(self, job: Job, slot: int, now: float) -> None:
        try:
            kind = load_kind(job.kind)
        except NotFound as error:  # of a newer modelpad
            self.attempts.fail(job, error)
            return
        folder = self.attempts.queue.folder_of(job.id)
        folder.mkdir(exist_ok=True, mode=0o700)
        place = (job.id, str(job.attempt), str(slot), str(os.getpid()))
        cores = len(choose_cpus(self.settings, slot, list_cpus()))
        with (folder / OUTPUT).open("ab") as output:
            process = subprocess.Popen(
                [*self._command, self.settings.to_json(), *place],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | thread_environment(cores),
                process_group=0,  # ends as a whole; and Ctrl-C in a terminal does not reach it
            )
        self._running[slot] = Running(job, slot, process, now + kind.time_limit_s)


def run_worker(settings: WorkSettings, command: Sequence[str] = RUNNER) -> None:
    """Runs jobs until no server is left, or SIGTERM; returns at once if another worker does."""
    held = try_lock(settings.folder / WORKER_LOCK)
    if held is None:
        return
    stopped = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    worker = JobWorker(settings, command)
    try:
        while not stopped and has_servers(settings.folder):
            worker.step()
            time.sleep(TICK_S)
    finally:
        worker.stop()
        os.close(held)


def has_servers(folder: Path) -> bool:
    """Whether a server uses the jobs of a folder: each holds the same lock, shared."""
    descriptor = try_lock(folder / SERVERS_LOCK)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        run_worker(WorkSettings.from_json(sys.argv[1]))
