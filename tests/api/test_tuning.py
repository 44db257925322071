"""`modelpad.tune` from Python, on a recipe that is not trained in epochs."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import modelpad
from modelpad.errors import UsageError
from tests.recipes.text.test_bag import KINDS, make_texts

pytest.importorskip("optuna")
pytest.importorskip("sklearn")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "films.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("text", "label"))
        for text, label in zip(*make_texts(300, 2), strict=True):
            rows.writerow((text, [*KINDS][label]))
    return path


@pytest.mark.slow
def test_a_search_returns_its_trials_and_the_best_model(
    tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = modelpad.tune(
        "reviews",
        table,
        trials=3,
        space={"penalty": (1.0, 50.0)},
        name="films",
        arch="bow",
        runs=tmp_path / "runs",
        store=tmp_path / "store",
    )
    assert [each.number for each in found.trials] == [1, 2, 3]
    assert all(1 <= each.values["penalty"] <= 50 for each in found.trials)
    assert found.best.loss == min(each.loss for each in found.trials)
    penalty = found.best.values["penalty"]
    expected = f"modelpad train reviews --data {table} --name films --arch bow --penalty {penalty}"
    assert found.command == expected
    assert found.training.load()("A lovely gem.").label == "positive"
    card = json.loads(found.training.bundle.path("card.json").read_bytes())
    assert card["training"]["command"].endswith(f"--penalty {penalty}")
    assert any("3 trials over penalty 1..50" in note for note in card["notes"])
    assert found.report.is_file()
    assert "3 trials" in repr(found)
    assert "trial 3/3" in capsys.readouterr().err


def test_a_space_that_is_not_valid_is_explained(tmp_path: Path, table: Path) -> None:
    with pytest.raises(UsageError, match="not below"):
        modelpad.tune("reviews", table, space={"penalty": (2.0, 1.0)}, store=tmp_path, arch="bow")
    with pytest.raises(UsageError, match="no search space"):
        modelpad.tune("style")
