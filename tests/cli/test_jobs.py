"""`modelpad jobs`: list, show, logs, cancel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelpad.cli.main import main
from modelpad.errors import JobFailed
from modelpad.jobs import Job, JobQueue, JobRequest
from modelpad.jobs.attempts import Attempts


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobQueue:
    monkeypatch.setenv("MODELPAD_JOBS", str(tmp_path / "jobs"))
    made = JobQueue(tmp_path / "jobs")
    made.create()
    return made


@pytest.fixture
def running(queue: JobQueue) -> Job:
    queue.submit(JobRequest("train", {"name": "pets"}, "ann"), now=0.0)
    attempts = Attempts(queue)
    job = attempts.claim(now=60.0)
    assert job is not None
    attempts.report(job, 0.25, "Epoch 1 of 4\x1b[2J", 0)
    attempts.log(job, "loss 0.5\x1b[2J")
    return job


def test_a_list(running: Job, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs"]) == 0
    listed = capsys.readouterr().out
    assert f"{running.id}  train  running  25 %  1970-01-01 00:00:00  Epoch 1 of 4" in listed
    assert "\x1b" not in listed
    assert main(["jobs", "list", "--json"]) == 0
    (job,) = json.loads(capsys.readouterr().out)["jobs"]
    assert (job["id"], job["owner"]) == (running.id, "ann")


def test_one_job(running: Job, queue: JobQueue, capsys: pytest.CaptureFixture[str]) -> None:
    Attempts(queue).fail(running, JobFailed("No.", hint="Try this."))
    assert main(["jobs", "show", running.id]) == 0
    shown = capsys.readouterr().out
    assert "state     failed\n" in shown
    assert 'params    {"name": "pets"}\n' in shown
    assert "error     No. Try this.\n" in shown
    assert main(["jobs", "show", "nowhere"]) == 1
    assert "There is no job 'nowhere'." in capsys.readouterr().err


def test_logs(running: Job, queue: JobQueue, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs", "logs", running.id]) == 0
    assert capsys.readouterr().out == "loss 0.5�[2J\n"
    Attempts(queue).finish(running, {})
    assert main(["jobs", "logs", running.id, "--follow"]) == 0


def test_cancelling(running: Job, queue: JobQueue, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs", "cancel", running.id]) == 0
    assert capsys.readouterr().out == f"Cancelled {running.id}.\n"
    assert main(["jobs", "logs", running.id, "--follow"]) == 1
    Attempts(queue).finish(running, {})
    assert queue.find(running.id).state == "cancelled"


def test_no_jobs(queue: JobQueue, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs"]) == 0
    assert capsys.readouterr().out == "There are no jobs.\n"
    assert main(["jobs", "--jobs", str(tmp_path / "nowhere")]) == 1
    assert "modelpad serve --studio" in capsys.readouterr().err
