"""A queue in a folder, and the kinds of jobs that the tests use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelpad.jobs import JobQueue, QueueLimits, WorkSettings, kinds
from tests.jobs import tiny


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kinds `tiny` and `once`, here and in the processes that run them."""
    monkeypatch.setattr(kinds, "KINDS", dict(kinds.KINDS))
    tiny.register()
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))


@pytest.fixture
def queue(tmp_path: Path) -> JobQueue:
    made = JobQueue(tmp_path / "jobs", QueueLimits(per_owner=50))
    made.create()
    return made


@pytest.fixture
def settings(queue: JobQueue, tmp_path: Path) -> WorkSettings:
    return WorkSettings(queue.folder, tmp_path / "store", tmp_path / "collections")
