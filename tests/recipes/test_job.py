"""The kind of job `train`: a version is added once, and only to a model of its own."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modelpad.collection import Collection, Collections
from modelpad.errors import InvalidInput
from modelpad.jobs import Job, JobQueue, JobRequest, WorkSettings
from modelpad.jobs.attempts import Attempts
from modelpad.jobs.work import Work
from modelpad.recipes import job as train_job
from modelpad.store import LocalStore
from tests.promotion.bright import write_bright


@pytest.fixture
def settings(tmp_path: Path) -> WorkSettings:
    return WorkSettings(tmp_path / "jobs", tmp_path / "store", tmp_path / "collections")


@pytest.fixture
def collection(settings: WorkSettings) -> Collection:
    made = Collections(settings.collections).create("ann")
    rng = np.random.default_rng(0)
    for name, shade in (("bright", 200), ("dark", 40)):
        for _ in range(6):
            pixels = rng.integers(shade, shade + 30, (32, 32, 3)).astype(np.uint8)
            body = io.BytesIO()
            Image.fromarray(pixels).save(body, "PNG")
            made.add(name, body.getvalue())
    return made


@pytest.fixture
def attempts(settings: WorkSettings) -> Attempts:
    queue = JobQueue(settings.folder)
    queue.create()
    return Attempts(queue)


def claim(attempts: Attempts, params: Any, settings: WorkSettings) -> Job:
    attempts.queue.submit(JobRequest("train", train_job.check(params, settings), "ann"))
    job = attempts.claim()
    assert job is not None
    attempts.queue.folder_of(job.id).mkdir(exist_ok=True)
    return job


@pytest.mark.slow
def test_a_version_is_added_once(
    attempts: Attempts, collection: Collection, settings: WorkSettings
) -> None:
    pytest.importorskip("torch")
    params = {"collection": collection.id, "name": "shades", "options": {"size": 32}}
    job = claim(attempts, params, settings)
    result: Any = train_job.run(Work(job, attempts, settings))
    assert (result["model"], result["version"]) == ("shades", 1)
    assert result["metrics"]["cross_validated_accuracy"] == 1.0
    assert attempts.queue.find(job.id).committing
    assert any("Few pictures" in line.text for line in attempts.queue.logs(job.id))

    attempts.give_back(job, counted=True)  # the process was killed just before it reported
    again = attempts.claim()
    assert again is not None
    assert train_job.run(Work(again, attempts, settings)) == result
    store = LocalStore(settings.store)
    assert store.versions("shades") == [1]
    assert store.read_data("shades", 1) == collection.data
    assert not (attempts.queue.folder_of(job.id) / "data").exists()


def test_other_models_are_not_replaced(
    collection: Collection, settings: WorkSettings, tmp_path: Path
) -> None:
    LocalStore(settings.store).push(write_bright(tmp_path / "bundles", 100, "shades"))
    for name in ("shades", "digits"):
        with pytest.raises(InvalidInput, match=f"a model called '{name}' already"):
            train_job.check({"collection": collection.id, "name": name}, settings)


@pytest.mark.parametrize(
    "options",
    [{"loss": "evil.py:run"}, {"epochs": 0}, {"size": True}, {"arch": "vgg"}, [], "size"],
)
def test_options_are_few(collection: Collection, settings: WorkSettings, options: Any) -> None:
    with pytest.raises(InvalidInput):
        train_job.check(
            {"collection": collection.id, "name": "shades", "options": options}, settings
        )
