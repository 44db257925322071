"""A run's folder, its checkpoints and Ctrl-C, without a framework."""

from __future__ import annotations

import io
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelpad.bundle import Bundle
from modelpad.bundle.manifest import FileRecord
from modelpad.errors import MissingExtra, TrainingFailed, UsageError
from modelpad.training.checkpoint import read_checkpoint, write_checkpoint
from modelpad.training.interrupts import Interrupts, Phase
from modelpad.training.pipeline import explain_size, train
from modelpad.training.progress import ProgressBar
from modelpad.training.recipe import Recipe
from modelpad.training.run import Run, TrainRequest


def make_run(folder: Path, **asked: Any) -> Run:
    return Run(TrainRequest("m", "uci-digits", folder, **asked), {"seed": 0}, io.StringIO())


def write_word(word: str) -> Any:
    return lambda folder: (folder / "word").write_text(word)


def read_word(folder: Path) -> str:
    return (folder / "word").read_text()


def train_epochs(run: Run, losses: list[float]) -> None:
    run.set_epochs(9)
    with run.interruptible():
        for loss in losses:
            epoch = run.first_epoch
            run.log(epoch, {"val_loss": loss})
            run.save(write_word(f"epoch {epoch}"), loss=loss)


def test_the_lowest_loss_is_kept_and_the_last_epoch_resumed(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    train_epochs(run, [3.0, 1.0, 2.0])
    words: list[str] = []
    run.restore_best(lambda folder: words.append(read_word(folder)))
    resumed = make_run(tmp_path, resume=True)
    assert resumed.restore(lambda folder: words.append(read_word(folder))) == 3
    assert words == ["epoch 1", "epoch 2"]
    train_epochs(resumed, [0.5])
    resumed.restore_best(lambda folder: words.append(read_word(folder)))
    assert words[-1] == "epoch 3"


def test_a_resumed_run_has_taken_what_it_took_before_too(tmp_path: Path) -> None:
    train_epochs(make_run(tmp_path), [1.0])
    state = tmp_path / "checkpoint" / "state.json"
    kept = json.loads(state.read_text())
    state.write_text(json.dumps(kept | {"seconds": kept["seconds"] + 1000}))
    seconds = make_run(tmp_path, resume=True).describe()["seconds"]
    assert isinstance(seconds, float)
    assert 1000 <= seconds < 1100


def test_a_loss_that_is_no_number_gives_way_to_one_that_is(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    train_epochs(run, [float("nan"), 5.0, float("nan")])
    words: list[str] = []
    run.restore_best(lambda folder: words.append(read_word(folder)))
    assert words == ["epoch 1"]


def test_a_decision_is_pinned_for_the_resumed_run(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert run.pin("choice", lambda: "first") == "first"
    train_epochs(run, [1.0])
    assert make_run(tmp_path, resume=True).pin("choice", lambda: "second") == "first"


def test_a_new_run_removes_only_what_a_run_writes(tmp_path: Path) -> None:
    train_epochs(make_run(tmp_path), [1.0])
    (tmp_path / "notes.txt").write_text("mine")
    make_run(tmp_path).begin()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_stopped_before_the_first_epoch_there_is_nothing_to_keep(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with pytest.raises(TrainingFailed, match="no model to keep"), run.interruptible():
        raise KeyboardInterrupt


def test_a_checkpoint_survives_a_crash_while_the_next_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    write_checkpoint(folder, write_word("old"), {"n": 1})

    def crash(aside: Path) -> None:
        (aside / "word").write_text("half")
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        write_checkpoint(folder, crash, {"n": 2})
    found = read_checkpoint(folder)
    assert found is not None
    assert (read_word(found.folder), found.state["n"]) == ("old", 1)
    folder.rename(tmp_path / "checkpoint.old")  # killed between the two renames
    found = read_checkpoint(folder)
    assert found is not None
    assert read_word(found.folder) == "old"


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_waits_for_the_epoch_on_screen_to_be_saved(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.set_epochs(3)
    with run.interrupts.installed(), run.interruptible():
        run.log(0, {"val_loss": 1.0})
        interrupt()
        run.save(write_word("saved"), loss=1.0)
        pytest.fail("the loop went on")
    assert run.stopped
    words: list[str] = []
    run.restore_best(lambda folder: words.append(read_word(folder)))
    assert words == ["saved"]


def test_ctrl_c_after_the_training_stops_only_when_repeated() -> None:
    out = io.StringIO()
    interrupts = Interrupts(out)
    before = signal.getsignal(signal.SIGINT)
    with interrupts.installed():
        interrupts.phase = Phase.FINISHING
        interrupt()
        assert "Press Ctrl-C again" in out.getvalue()
        with pytest.raises(KeyboardInterrupt):
            interrupt()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_bar_shows_the_time_left() -> None:
    out = io.StringIO()
    times = iter([0.0, 30.0])
    bar = ProgressBar(out, epochs=3, clock=lambda: next(times))
    bar.end_epoch(0, {"loss": 0.5, "learning_rate": 0.001})
    assert out.getvalue() == f"epoch 1/3 {'█' * 20} loss 0.5000  rate 0.001  1:00 left\n"


def test_a_large_bundle_is_explained(digits: Bundle) -> None:
    assert explain_size(digits) is None
    large = {name: FileRecord("", 107_500_000) for name in ("model.onnx", "model.weights.h5")}
    words = explain_size(replace(digits, manifest=replace(digits.manifest, files=large)))
    assert words is not None
    assert "215 MB: model.onnx 108 MB, model.weights.h5 108 MB" in words
    assert "stored twice" in words


def test_a_missing_package_names_the_extra(tmp_path: Path) -> None:
    def need(options: object, run: Run) -> Any:
        raise ModuleNotFoundError("No module named 'torch'", name="torch.nn")

    recipe = Recipe("r", "a recipe", "train", ("uci-digits",), TrainRequest, need)
    request = TrainRequest("m", "uci-digits", tmp_path)
    with pytest.raises(MissingExtra) as caught:
        train(recipe, request_options(), request, out=io.StringIO())
    assert caught.value.message == "torch is not installed."
    assert "pip install 'modelpad[train]'" in caught.value.hint


def test_a_folder_is_for_one_training_at_a_time(tmp_path: Path) -> None:
    request = TrainRequest("m", "uci-digits", tmp_path / "m")
    tried: list[int] = []

    def begin_another(options: object, run: Run) -> Any:
        tried.append(len(tried))
        return train(recipe, request_options(), request, out=io.StringIO())

    recipe = Recipe("r", "a recipe", "train", ("uci-digits",), TrainRequest, begin_another)
    with pytest.raises(TrainingFailed, match="Another training uses") as caught:
        train(recipe, request_options(), request, out=io.StringIO())
    assert (tried, caught.value.hint.split()[-2]) == ([0], "--runs")
    assert not request.folder.exists()  # nothing was written, and the lock leaves nothing
    with pytest.raises(TrainingFailed, match="Another training uses"):
        train(recipe, request_options(), request, out=io.StringIO())
    assert tried == [0, 1]  # the first has let go of it


def request_options() -> Any:
    from modelpad.training.options import KerasOptions

    return KerasOptions()


@pytest.mark.parametrize("asked", [{"epochs": 0}, {"limit": 3}])
def test_numbers_that_make_no_sense_are_wrong_usage(tmp_path: Path, asked: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        make_run(tmp_path, **asked)
