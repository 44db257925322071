"""Trials of each kind of recipe end before the test; the digits have a module of their own."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("optuna")

from modelpad.errors import UsageError
from modelpad.recipes import load_recipe
from modelpad.recipes.images import ImagesOptions
from modelpad.recipes.reviews import ReviewsOptions
from modelpad.recipes.writer import WriterOptions
from modelpad.training.options import OptimizerOptions
from modelpad.training.pipeline import train
from modelpad.training.run import BUNDLE, REPORT, TrainRequest
from modelpad.tuning.search import Search, SearchPlan
from tests.recipes.text.test_bag import KINDS, make_texts


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "films.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("text", "label"))
        for text, label in zip(*make_texts(200, 2), strict=True):
            rows.writerow((text, [*KINDS][label]))
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for name, level in (("dark", 40), ("light", 200)):
        (folder / name).mkdir()
        for number in range(20):
            pixels = np.clip(random.normal(level, 30, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "options", "varied"),
    [
        ("writer", WriterOptions(general="none", vocabulary=300, width=64), "learning_rate"),
        ("reviews", ReviewsOptions(from_="none", adapt=0), "learning_rate"),
        ("images", ImagesOptions("mini", size=32), "learning_rate"),
    ],
)
def test_trials_end_before_the_test(
    recipe: str, options: Any, varied: str, texts: Path, pictures: Path, tmp_path: Path
) -> None:
    data = str(pictures if recipe == "images" else texts)
    request = TrainRequest("mine", data, tmp_path, epochs=1)
    search = Search(load_recipe(recipe), options, request, SearchPlan(2))
    search.run(lambda record: None)
    assert [each.state for each in search.records] == ["finished", "finished"]
    assert search.records[0].values == {}
    assert varied in search.records[1].values
    assert search.records[0].loss != search.records[1].loss  # the options reach the optimizer
    assert search.best is not None
    kept = {path.name for path in search.name_folder(search.best.number).iterdir()}
    assert not kept & {BUNDLE, REPORT, f"{REPORT}.html"}


def test_few_pictures_have_nothing_to_search(pictures: Path, tmp_path: Path) -> None:
    search = Search(
        load_recipe("images"),
        ImagesOptions(size=32),
        TrainRequest("mine", str(pictures), tmp_path),
        SearchPlan(2),
    )
    with pytest.raises(UsageError, match="A search has nothing to do with fewer than 500"):
        search.run(lambda record: None)
    options = ImagesOptions(size=32, optimizer=OptimizerOptions(learning_rate=0.1))
    request = TrainRequest("mine", str(pictures), tmp_path / "run")
    with pytest.raises(UsageError, match="--learning-rate has nothing to do with fewer"):
        train(load_recipe("images"), options, request, out=io.StringIO())
