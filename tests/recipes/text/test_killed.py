"""Trainings of texts on the command line, killed and resumed."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest

from tests.killed_runs import start_training, stop_after

WRITER = ("--general", "none", "--vocabulary", "400", "--width", "64", "--epochs", "12")
REVIEWS = ("--from", "none", "--epochs", "12")
WORDS = ("film", "story", "actor", "scene", "ending", "music", "plot", "joke")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts of forty words, of which one says the class."""
    path = tmp_path_factory.mktemp("texts") / "films.csv"
    rng, rows = np.random.default_rng(0), ["text,label"]
    for number in range(400):
        kind = ("dull", "superb")[number % 2]
        words = [*rng.choice(WORDS, 39).tolist(), kind]
        rows.append(f"Film {number}: {' '.join(rng.permutation(words).tolist())}.,{kind}")
    path.write_text("\n".join(rows), "utf-8")
    return path


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(("recipe", "options"), [("writer", WRITER), ("reviews", REVIEWS)])
def test_resumed_after_a_kill_it_ends_the_same(
    recipe: str, options: tuple[str, ...], table: Path, tmp_path: Path
) -> None:
    asked = ("--data", str(table), "--name", "films", "--no-baseline", *options)
    whole = start_training(tmp_path / "whole", recipe, *asked)
    assert whole.communicate(timeout=280)[0]
    killed = start_training(tmp_path / "killed", recipe, *asked)
    stop_after(killed, "epoch 2/", signal.SIGKILL)
    killed.communicate()
    assert not (tmp_path / "killed" / "store" / "films" / "1").exists()
    resumed = start_training(tmp_path / "killed", recipe, *asked, "--resume")
    output, errors = resumed.communicate(timeout=280)
    assert "Resuming after epoch" in errors
    assert json.loads(output)["version"] == 1
    graphs = [
        (tmp_path / name / "store" / "films" / "1" / "model.onnx").read_bytes()
        for name in ("whole", "killed")
    ]
    assert graphs[0] == graphs[1]
