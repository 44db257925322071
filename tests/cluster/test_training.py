"""`modelpad train --on local`: trainings run on a cluster, and are found again there."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelpad.cluster.inputs import pack
from modelpad.cluster.order import Order, Resources
from modelpad.errors import TrainingFailed, UsageError
from modelpad.store import LocalStore

pytest.importorskip("ray")
pytest.importorskip("torch")
pytest.importorskip("sklearn")
pytestmark = [pytest.mark.slow, pytest.mark.long]

ONE, TWO = Resources(1, 0), Resources(1, 0, workers=2)
TOO_MUCH = Resources(999, 0)


def order(*arguments: str, name: str = "tickets") -> Order:
    return Order(name, ("reviews", "--on=", "--runs=run", "--store=store", *arguments), pack({}))


def test_a_bundle_arrives_in_the_store(tmp_path: Path) -> None:
    rows = [f"good fine film {n},pos\nbad dull film {n},neg" for n in range(40)]
    (tmp_path / "tickets.csv").write_text("\n".join(["text,label", *rows]))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "modelpad", "train", "reviews", "tickets.csv"),
            *("--arch", "bow", "--on", "local", "--store", "store", "--runs", "runs"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Testing on 16 texts" in done.stderr
    assert "Saved as reviews version 1. Report: runs/reviews-bow/report.html" in done.stdout
    store = LocalStore(tmp_path / "store")
    assert store.verify() == []
    assert store.read_data("reviews", 1) == tmp_path / "tickets.csv"


class Log(io.StringIO):
    """A log that interrupts trainings when it has come to certain words."""

    def __init__(self) -> None:
        super().__init__()
        self._words: dict[str, Any] = {}

    def interrupt_at(self, words: str, training: Any) -> None:
        self._words[words] = training

    def flush(self) -> None:
        for words in [each for each in self._words if each in self.getvalue()]:
            self._words.pop(words).ask("interrupt")


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    from modelpad.cluster.connection import connect

    with connect("local") as ray:
        yield ray


def test_the_log_and_the_exit_code_of_a_failure(ray: Any) -> None:
    from modelpad.cluster.training import find_training, start_training

    failing = order("--data=nothing-here")
    training, out = start_training(ray, failing, ONE), io.StringIO()
    training.follow(ONE, out)
    assert "There is no data set called nothing-here" in out.getvalue()
    assert training.ask("collect").code == 1
    assert find_training(ray, failing, out) is None  # so that it can be started again


def order_digits(*arguments: str, name: str) -> Order:
    small = ("--data=uci-digits", "--arch=mlp", "--no-unknown", f"--name={name}")
    words = ("digits", "--on=", "--runs=run", "--store=store", *small, *arguments)
    return Order(name, words, pack({}))


def test_a_worker_that_fails_alone_ends_the_training(ray: Any, tmp_path: Path) -> None:
    from modelpad.cluster.training import start_training

    (tmp_path / "mine.py").write_text(
        "from torch.distributed import get_rank\n"
        "assert get_rank() == 0, 'my metric is broken'\n"
        "def fine(targets, scores):\n    return scores.sum()\n"
    )
    failing = order_digits("--epochs=1", f"--metric={tmp_path}/mine.py:fine", name="half")
    training, out = start_training(ray, failing, TWO), io.StringIO()
    training.follow(TWO, out)
    assert "Worker 2 of 2 failed:" in out.getvalue()
    assert "my metric is broken" in out.getvalue()
    assert training.ask("collect").code == 2


def test_two_workers_train_one_model_until_ctrl_c(ray: Any) -> None:
    # No training after this one gets a CPU: see `Keeper.interrupt`.
    from modelpad.cluster.training import start_training

    training, out = start_training(ray, order_digits("--epochs=1000", name="two"), TWO), Log()
    all_cpus = Resources(ray.cluster_resources()["CPU"] / 2, 0, workers=2)
    waiting, silence = start_training(ray, order_digits(name="next"), all_cpus), Log()
    out.interrupt_at("epoch 2/1000", waiting)
    out.interrupt_at("epoch 3/1000", training)
    training.follow(TWO, out)
    assert "keeping the best epoch" in out.getvalue()
    assert out.getvalue().count("epoch 2/1000") == 1
    finished = training.ask("collect")
    assert finished.code == 0, out.getvalue()
    assert finished.facts["test_accuracy"] > 0.8
    assert finished.run
    waiting.follow(all_cpus, silence)
    assert silence.getvalue() == ""
    assert waiting.ask("collect").code == 130


def test_more_workers_than_the_cluster_has_room_for(ray: Any) -> None:
    from modelpad.cluster.training import start_training

    with pytest.raises(UsageError, match="has room for 0 workers with 500 CPUs each, not for 2"):
        start_training(ray, order_digits(name="many"), Resources(500, 0, workers=2))


def test_a_training_is_found_again_and_stopped_by_ctrl_c(ray: Any) -> None:
    from modelpad.cluster.training import find_training, start_training

    waiting, out = order("--data=a", name="other"), io.StringIO()
    start_training(ray, waiting, TOO_MUCH)
    found = find_training(ray, waiting, out)
    assert found is not None
    with pytest.raises(UsageError, match="with other options or data"):
        find_training(ray, order("--data=b", name="other"), out)
    timer = threading.Timer(7, signal.raise_signal, [signal.SIGINT])
    timer.start()
    begun = time.monotonic()
    try:
        found.follow(TOO_MUCH, out)
    finally:
        timer.cancel()
    assert time.monotonic() - begun > 5
    assert "Following the training of other" in out.getvalue()
    assert "Waiting for 999 CPUs" in out.getvalue()
    assert found.ask("collect").code == 130


def test_a_keeper_that_dies_is_explained(ray: Any) -> None:
    from modelpad.cluster.training import explain_loss, start_training

    training = start_training(ray, order("--data=c", name="lost"), TOO_MUCH)
    ray.kill(training.keeper)
    with pytest.raises(TrainingFailed, match="lost the training"), explain_loss(ray, "local"):
        training.ask("collect")
