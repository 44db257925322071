"""The process of one attempt at a job, with the arguments SETTINGS, ID, ATTEMPT, SLOT and PARENT.

It holds the job's lock for as long as it lives, so that no two attempts ever run at a time, and
writes how the job ended itself. What it computes is lost if it is killed, but for the files in the
job's folder.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from modelpad.bundle.locks import try_lock
from modelpad.errors import JobFailed, ModelpadError, NotFound, first_line
from modelpad.jobs.attempts import Attempts
from modelpad.jobs.kinds import load_kind
from modelpad.jobs.limits import choose_cpus, confine_process, list_cpus
from modelpad.jobs.queue import JobQueue, QueueLimits
from modelpad.jobs.settings import WorkSettings
from modelpad.jobs.work import JobStopped, Work

LOCK = ".lock"
LOCK_S = 20.0  # for an attempt that was just killed to end
SHORT_OF_MEMORY = "The job needed more memory than it may use."


def main(arguments: Sequence[str]) -> None:
    """Runs one attempt, unless it does not count any more."""
    settings = WorkSettings.from_json(arguments[0])
    id, attempt, slot, parent = arguments[1], *map(int, arguments[2:5])
    cpus = choose_cpus(settings, slot, list_cpus())
    confine_process(cpus, settings.memory_bytes, parent)
    attempts = open_attempts(settings)
    folder = attempts.queue.folder_of(id)
    folder.mkdir(exist_ok=True, mode=0o700)
    if wait_for_lock(folder / LOCK) is None:
        return
    with contextlib.suppress(NotFound, JobStopped):
        job = attempts.queue.find(id)
        if job.attempt == attempt and attempts.is_current(job):
            run_attempt(Work(job, attempts, settings), attempts)


def open_attempts(settings: WorkSettings) -> Attempts:
    """The attempts at the jobs of these settings."""
    return Attempts(JobQueue(settings.folder, QueueLimits(keep_s=settings.keep_s)))


def wait_for_lock(path: Path) -> int | None:
    """The job's lock, held for as long as this process lives; None if another keeps it."""
    end = time.monotonic() + LOCK_S
    while True:
        descriptor = try_lock(path)
        if descriptor is not None or time.monotonic() > end:
            return descriptor
        time.sleep(0.05)


def run_attempt(work: Work, attempts: Attempts) -> None:
    """Does the work, and stores its result or its error. Raises `JobStopped`."""
    job = work.job
    try:
        result = load_kind(job.kind).load_run()(work)
    except ModelpadError as error:
        attempts.fail(job, error)
    except MemoryError:
        attempts.fail(job, JobFailed(SHORT_OF_MEMORY, hint="Give it less to do, or more memory."))
    except Exception as error:
        traceback.print_exc()
        words = f"The job failed: {type(error).__name__}: {first_line(error, 300)}"
        attempts.fail(job, JobFailed(words, hint="See the log of its process, errors.txt."))
    else:
        attempts.finish(job, result)


if __name__ == "__main__":
    main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads of libraries must not keep the process, and its lock
