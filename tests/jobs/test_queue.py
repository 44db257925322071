"""The queue: what is submitted is kept, once for each key, within limits, and can be cancelled."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from modelpad.errors import JobConflict, JobFailed, JobsFull, NotFound, StoreError
from modelpad.jobs import JobQueue, JobRequest, QueueLimits
from modelpad.jobs.attempts import Attempts
from modelpad.jobs.changes import ChangeWatch


def request(key: str | None = None, owner: str = "ann", **params: str) -> JobRequest:
    return JobRequest("tiny", params, owner, key)


def test_jobs_are_listed_newest_first_and_by_owner(queue: JobQueue) -> None:
    first, _ = queue.submit(request(echo="1"), now=100.0)
    second, _ = queue.submit(request(owner="bob"), now=101.0)
    assert [job.id for job in queue.jobs()] == [second.id, first.id]
    assert [job.id for job in queue.jobs("ann")] == [first.id]
    assert queue.jobs(states=("done",)) == []
    found = queue.find(first.id)
    assert (found.state, found.params, found.created) == ("queued", {"echo": "1"}, 100.0)
    with pytest.raises(NotFound, match="no job 'nowhere'"):
        queue.find("nowhere")


def test_a_key_makes_one_job(queue: JobQueue) -> None:
    first, is_new = queue.submit(request("k", echo="1"))
    again, is_new_again = queue.submit(request("k", echo="1"))
    assert (is_new, is_new_again, again.id) == (True, False, first.id)
    other, _ = queue.submit(request("k", owner="bob", echo="1"))
    assert other.id != first.id
    with pytest.raises(JobConflict, match="different job"):
        queue.submit(request("k", echo="2"))


def test_unfinished_jobs_are_limited(tmp_path: Path) -> None:
    queue = JobQueue(tmp_path, QueueLimits(per_owner=2, total=3))
    queue.create()
    first, _ = queue.submit(request())
    queue.submit(request())
    with pytest.raises(JobsFull, match="At most 2 jobs"):
        queue.submit(request())
    queue.submit(request(owner="bob"))
    with pytest.raises(JobsFull):
        queue.submit(request(owner="carl"))
    queue.cancel(first.id)
    queue.submit(request())


def test_cancelling(queue: JobQueue) -> None:
    attempts = Attempts(queue)
    waiting, _ = queue.submit(request())
    assert queue.cancel(waiting.id).state == "cancelled"
    assert queue.cancel(waiting.id).state == "cancelled"
    assert attempts.claim() is None
    queue.submit(request())
    running = attempts.claim()
    assert running is not None
    queue.cancel(running.id)
    assert not attempts.report(running, 0.5, "step", 0)
    assert not attempts.log(running, "line")
    assert not attempts.finish(running, {})
    assert queue.find(running.id).state == "cancelled"


def test_a_job_that_is_being_saved_cannot_be_cancelled(queue: JobQueue) -> None:
    attempts = Attempts(queue)
    queue.submit(request())
    job = attempts.claim()
    assert job is not None
    assert attempts.begin_commit(job)
    with pytest.raises(JobConflict, match="just being saved"):
        queue.cancel(job.id)
    assert attempts.give_back(job, counted=True)
    again = attempts.claim()
    assert again is not None
    assert again.committing  # the first attempt may have saved it
    assert attempts.finish(again, {"version": 1})
    with pytest.raises(JobConflict, match="is done"):
        queue.cancel(job.id)


def test_only_the_last_attempt_counts(queue: JobQueue) -> None:
    attempts = Attempts(queue)
    queue.submit(request())
    first = attempts.claim()
    assert first is not None
    attempts.give_back(first, counted=True)
    second = attempts.claim()
    assert second is not None
    assert (first.attempt, second.attempt) == (1, 2)
    assert not attempts.finish(first, {"from": 1})
    assert attempts.finish(second, {"from": 2})
    assert not attempts.finish(second, {"from": 2})
    done = queue.find(first.id)
    assert (done.state, done.result, done.fraction) == ("done", {"from": 2}, 1.0)


def test_errors_have_a_hint(queue: JobQueue) -> None:
    attempts = Attempts(queue)
    queue.submit(request())
    job = attempts.claim()
    assert job is not None
    attempts.fail(job, JobFailed("No.", hint="Yes."))
    failed = queue.find(job.id)
    assert (failed.state, failed.error) == ("failed", {"message": "No.", "hint": "Yes."})


def test_the_log_keeps_its_end(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelpad.jobs.attempts.MAX_LOG_LINES", 20)
    attempts = Attempts(queue)
    queue.submit(request())
    job = attempts.claim()
    assert job is not None
    for number in range(25):
        assert attempts.log(job, f"line {number}")
    lines = queue.logs(job.id)
    assert (len(lines), lines[0].text, lines[0].number) == (20, "line 5", 6)
    assert [line.text for line in queue.logs(job.id, after=24)] == ["line 24"]


def test_finished_jobs_expire_with_their_files(queue: JobQueue) -> None:
    attempts = Attempts(queue)
    job, _ = queue.submit(request(), now=0.0)
    waiting, _ = queue.submit(request(), now=0.0)
    queue.folder_of(job.id).mkdir()
    queue.cancel(job.id, now=1000.0)
    assert attempts.remove_expired(now=1000.0 + queue.limits.keep_s) == []
    assert [each.id for each in attempts.remove_expired(now=1001.0 + queue.limits.keep_s)] == [
        job.id
    ]
    assert not queue.folder_of(job.id).exists()
    assert [each.id for each in queue.jobs()] == [waiting.id]


def test_changes_are_noticed(queue: JobQueue) -> None:
    watch = ChangeWatch(queue.path)
    assert watch.has_changed()
    assert not watch.has_changed()
    queue.submit(request())
    assert watch.has_changed()
    assert not watch.has_changed()
    watch.close()


def test_files_are_private_and_of_this_format(queue: JobQueue, tmp_path: Path) -> None:
    assert stat.S_IMODE(queue.path.stat().st_mode) == 0o600
    with pytest.raises(StoreError, match="no job queue in"):
        JobQueue(tmp_path / "nowhere").jobs()
    (tmp_path / "jobs.sqlite").write_bytes(b"not a database, and long enough to be read as one")
    with pytest.raises(StoreError, match="cannot be used"):
        JobQueue(tmp_path).create()
