"""The worker: jobs run in processes of their own, and every end of one is reported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelpad.bundle.locks import try_lock
from modelpad.collection import Collections
from modelpad.jobs import Job, JobQueue, JobRequest, WorkSettings, kinds
from modelpad.jobs.kinds import Kind
from modelpad.jobs.limits import choose_cpus
from modelpad.jobs.queue import SERVERS_LOCK
from modelpad.jobs.uploads import FOLDER, Uploads
from modelpad.jobs.worker import SWEEP_S, JobWorker, has_servers
from tests.jobs import tiny

WORKER = (sys.executable, "-m", "tests.jobs.tiny", "worker")


@pytest.fixture
def worker(settings: WorkSettings) -> Iterator[JobWorker]:
    made = JobWorker(settings, tiny.RUNNER)
    yield made
    made.stop()


def submit(queue: JobQueue, kind: str = "tiny", **params: Any) -> Job:
    return queue.submit(JobRequest(kind, params))[0]


def run_until(worker: JobWorker, check: Callable[[], Any], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "it did not come"
        worker.step()
        time.sleep(0.02)


def finish(worker: JobWorker, queue: JobQueue, job: Job) -> Job:
    run_until(worker, lambda: queue.find(job.id).is_finished)
    return queue.find(job.id)


def read_pids(name: str) -> list[int]:
    """The processes of attempts whose command line has a word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if name.encode() in words and b"runner" in words:
            found.append(int(path.parent.name))
    return found


def test_a_job_reports_and_finishes(worker: JobWorker, queue: JobQueue) -> None:
    job = finish(worker, queue, submit(queue, echo="hello", preview=True))
    assert (job.state, job.result) == ("done", {"echo": "hello", "attempts": "+"})
    assert (job.fraction, job.step, job.previews, job.attempt) == (1.0, "step 19", 1, 1)
    assert [line.text for line in queue.logs(job.id)] == ["attempt 1"]
    assert (queue.folder_of(job.id) / "preview").read_bytes().startswith(b"\x89PNG")


def test_failures_are_reported(worker: JobWorker, queue: JobQueue) -> None:
    told, broken = submit(queue, fail=True), submit(queue, explode=True)
    assert finish(worker, queue, told).error == {
        "message": "It was told to fail.",
        "hint": "Tell it not to.",
    }
    error = finish(worker, queue, broken).error
    assert error is not None
    assert error["message"] == "The job failed: ValueError: broken"
    assert "Traceback" in (queue.folder_of(broken.id) / "errors.txt").read_text()


def test_memory_is_limited(settings: WorkSettings, queue: JobQueue) -> None:
    worker = JobWorker(replace(settings, memory_bytes=100 << 20), tiny.RUNNER)
    job = finish(worker, queue, submit(queue, bytes=200 << 20))
    worker.stop()
    assert job.error is not None
    assert job.error["message"] == "The job needed more memory than it may use."


def test_time_is_limited(
    worker: JobWorker, queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = Kind("tiny", "", tiny.check, "tests.jobs.tiny:run", time_limit_s=0.2)
    monkeypatch.setattr(tiny, "KIND", short)
    job = finish(worker, queue, submit(queue, seconds=20))
    assert job.error is not None
    assert job.error["message"] == "The job took longer than 0 seconds."


def test_a_cancelled_job_ends(worker: JobWorker, queue: JobQueue) -> None:
    job = submit(queue, seconds=300)
    run_until(worker, lambda: queue.find(job.id).step)
    assert read_pids(job.id)
    queue.cancel(job.id)
    run_until(worker, lambda: not read_pids(job.id))
    assert queue.find(job.id).state == "cancelled"


def test_a_killed_attempt_is_followed_by_another(worker: JobWorker, queue: JobQueue) -> None:
    job = submit(queue, first_s=300)
    run_until(worker, lambda: queue.find(job.id).step)
    (pid,) = read_pids(job.id)
    os.kill(pid, signal.SIGKILL)
    done = finish(worker, queue, job)
    assert (done.state, done.attempt) == ("done", 2)
    assert done.result == {"echo": None, "attempts": "++"}


@pytest.mark.parametrize(("kind", "times"), [("once", 1), ("tiny", 3)])
def test_what_cannot_go_on_is_reported_lost(
    worker: JobWorker, queue: JobQueue, kind: str, times: int
) -> None:
    job = submit(queue, kind, seconds=20)
    for attempt in range(1, times + 1):

        def runs(attempt: int = attempt) -> bool:
            return queue.find(job.id).attempt == attempt and len(queue.logs(job.id)) == attempt

        run_until(worker, runs)
        for pid in read_pids(job.id):
            os.kill(pid, signal.SIGKILL)
    lost = finish(worker, queue, job)
    assert (lost.state, lost.attempt) == ("lost", times)
    assert lost.error is not None
    assert "ended unexpectedly" in lost.error["message"]


def test_a_job_of_a_newer_modelpad_fails_after_a_rollback(
    worker: JobWorker, queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, waiting = submit(queue), submit(queue)
    assert worker.attempts.claim() == queue.find(running.id)
    monkeypatch.delitem(kinds.KINDS, "tiny")
    for job in (running, waiting):
        error = finish(worker, queue, job).error
        assert error is not None
        assert error["message"] == "There is no kind of job 'tiny'."


def test_a_killed_worker_takes_its_jobs_along(
    settings: WorkSettings, queue: JobQueue, wait_for: Callable[..., None]
) -> None:
    server = try_lock(settings.folder / SERVERS_LOCK, shared=True)
    assert server is not None
    job = submit(queue, first_s=300)
    first = subprocess.Popen([*WORKER, settings.to_json()])
    wait_for(lambda: queue.find(job.id).step, 60)
    rival = subprocess.run([*WORKER, settings.to_json()], timeout=60)
    assert rival.returncode == 0  # there is one already
    first.kill()
    first.wait()
    wait_for(lambda: not read_pids(job.id))
    second = subprocess.Popen([*WORKER, settings.to_json()])
    wait_for(lambda: queue.find(job.id).is_finished, 60)
    assert (queue.find(job.id).state, queue.find(job.id).attempt) == ("done", 2)
    os.close(server)  # the last server ends, and the worker with it
    assert second.wait(timeout=20) == 0


def test_jobs_wait_for_the_next_server(
    settings: WorkSettings, queue: JobQueue, wait_for: Callable[..., None]
) -> None:
    server = try_lock(settings.folder / SERVERS_LOCK, shared=True)
    assert server is not None
    assert has_servers(settings.folder)
    job = submit(queue, seconds=20)
    worker = subprocess.Popen([*WORKER, settings.to_json()])
    wait_for(lambda: queue.find(job.id).step, 60)
    os.close(server)
    assert worker.wait(timeout=20) == 0
    assert not has_servers(settings.folder)
    waiting = queue.find(job.id)
    assert (waiting.state, waiting.attempt) == ("queued", 0)  # that was no failure
    assert not read_pids(job.id)


def test_what_clients_have_sent_expires(queue: JobQueue, settings: WorkSettings) -> None:
    now = [0.0]
    worker = JobWorker(settings, tiny.RUNNER, clock=lambda: now[0])
    upload = Uploads(settings.folder / FOLDER).create("ann", b"a file")
    collection = Collections(settings.collections).create("ann")
    worker.step()
    assert upload.folder.exists()
    assert collection.folder.exists()
    for path in (upload.path, collection.folder):
        os.utime(path, (0, 0))
    now[0] = SWEEP_S
    worker.step()
    worker.stop()
    assert not upload.folder.exists()
    assert not collection.folder.exists()


def test_slots_have_cpus_of_their_own(settings: WorkSettings) -> None:
    assert choose_cpus(settings, 0, [0, 1]) == [1]
    assert choose_cpus(settings, 1, [0, 1]) == [0]
    assert choose_cpus(settings, 0, [0]) == [0]
    four = replace(settings, cores=4)
    assert choose_cpus(four, 0, [0, 1]) == [1, 0]
    assert choose_cpus(replace(settings, cores=2), 1, list(range(8))) == [5, 4]
