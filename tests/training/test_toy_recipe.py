"""Recipes in one file each are trained, served and asked."""

from __future__ import annotations

import csv
import io
import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelpad import datasets
from modelpad.bundle import open_bundle
from modelpad.cli.main import main
from modelpad.datasets import Progress, ProgressUpdate, load_uci_digits
from modelpad.errors import DataSetNotFound, TrainingFailed
from modelpad.foreign_json import as_object, list_at, object_at
from modelpad.recipes import RECIPES
from modelpad.training.pipeline import Outcome
from modelpad.training.pipeline import train as run_recipe
from modelpad.training.run import TrainRequest
from tests.training import toy_torch


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPES, "toy", "tests.training.toy_sklearn")


@pytest.mark.usefixtures("toy")
def test_a_recipe_in_one_file_is_trained_served_and_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], serve: Callable[..., Any]
) -> None:
    store = tmp_path / "store"
    places = ["--store", str(store), "--runs", str(tmp_path / "runs")]
    assert main(["train", "toy", "--strength", "0.01", "--balanced", *places]) == 0
    told = capsys.readouterr().out
    assert told.startswith("Test accuracy 9")
    assert "on uci-digits." in told
    assert "Next: modelpad serve toy" in told

    split = load_uci_digits().train
    pixels = json.dumps(split.images[0].reshape(64).tolist())
    assert main(["predict", "toy", pixels, "--store", str(store), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["label"] == str(split.labels[0])

    server = serve("toy", store=store)
    body = json.dumps({"pixels": json.loads(pixels)}).encode()
    request = urllib.request.Request(
        f"{server.url}/predict/toy", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as response:
        assert json.load(response)["label"] == str(split.labels[0])
    card = as_object(open_bundle(store / "toy" / "1").read_json("card.json"), "card")
    assert object_at(card, "training")["data"] == "uci-digits"


@pytest.mark.usefixtures("toy")
def test_the_help_of_a_recipe_shows_its_options_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "toy", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "--strength STRENGTH inverse of the regularisation's strength (default: 1.0)" in told
    assert "--balanced weigh each class" in told
    assert "--arch" not in told
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    told = capsys.readouterr().out
    assert "a toy that tells 8x8 digits apart" in told
    assert "handwritten digits" in told
    assert "--strength" not in told


@pytest.mark.usefixtures("toy")
def test_downloads_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def download(name: str, *, progress: Progress, **options: Any) -> None:
        progress(ProgressUpdate("download", name, 0, 11_600_000, "bytes"))
        raise DataSetNotFound("The connection was cut.")

    monkeypatch.setattr(datasets, "load_data", download)
    assert main(["train", "toy", "--store", str(tmp_path), "--runs", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert "Downloading uci-digits (11.6 MB)" in told
    assert "The connection was cut." in told


def loop(folder: Path, **asked: Any) -> Outcome:
    request = TrainRequest(name="loop", data="uci-digits", folder=folder, **asked)
    return run_recipe(toy_torch.RECIPE, toy_torch.Options(), request, out=io.StringIO())


def test_a_loop_of_its_own_is_logged_and_keeps_the_best(tmp_path: Path) -> None:
    outcome = loop(tmp_path)
    assert outcome.metrics["test_accuracy"] > 0.8
    rows = list(csv.DictReader((tmp_path / "history.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    state = json.loads((tmp_path / "best" / "state.json").read_text())
    assert state["loss"] == min(float(row["val_loss"]) for row in rows)
    assert list((tmp_path / "logs").glob("events.out.tfevents.*"))
    assert (tmp_path / "report" / "curves-1.svg").stat().st_size > 500


def test_a_loop_that_died_is_resumed_and_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(epoch: int) -> None:
        if epoch == 1:
            raise Killed

    whole = loop(tmp_path / "whole")
    monkeypatch.setattr(toy_torch, "after_epoch", [die])
    with pytest.raises(Killed):
        loop(tmp_path / "killed")
    monkeypatch.setattr(toy_torch, "after_epoch", [])
    resumed = loop(tmp_path / "killed", resume=True)
    graphs = [one.bundle.path("model.onnx").read_bytes() for one in (whole, resumed)]
    assert graphs[0] == graphs[1]
    with pytest.raises(TrainingFailed, match="different epochs: 4"):
        loop(tmp_path / "killed", resume=True, epochs=9)


def test_a_loop_that_is_stopped_keeps_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(epoch: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(toy_torch, "after_epoch", [stop])
    outcome = loop(tmp_path)
    assert outcome.stopped_early
    card = as_object(outcome.bundle.read_json("card.json"), "card")
    assert len(list_at(card, "history")) == 1
