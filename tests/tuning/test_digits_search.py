"""A small, real search of the digits recipe, whose trials never see the test split."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("keras")
pytest.importorskip("optuna")

from modelpad.cli.main import build_parser
from modelpad.recipes.digits import RECIPE, DigitsOptions
from modelpad.recipes.digits import data as digits_data
from modelpad.recipes.digits import recipe as digits
from modelpad.store import Store, open_store
from modelpad.training.options import build_options
from modelpad.training.pipeline import Outcome
from modelpad.training.run import TrainRequest
from modelpad.tuning.command import write_command
from modelpad.tuning.report import write_report
from modelpad.tuning.search import REPORT, Search, SearchPlan

pytestmark = pytest.mark.slow


class Sealed:
    """A test split that nobody may look into."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getattr__(self, name: str) -> Any:
        raise AssertionError("a trial has read the test split")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("search")


@pytest.fixture(scope="module")
def store(folder: Path) -> Store:
    return open_store(folder / "store")


@pytest.fixture(scope="module")
def search(folder: Path) -> Search:
    """A search of three trials, with the test split sealed."""

    def load(*arguments: Any, **more: Any) -> Any:
        splits, pens = load_splits(*arguments, **more)
        sealed: Any = Sealed(len(splits.test))
        return replace(splits, test=sealed), pens

    request = TrainRequest("digits", "uci-digits", folder / "run", epochs=2, limit=300, seed=3)
    found = Search(RECIPE, DigitsOptions("mlp"), request, SearchPlan(3))
    load_splits = digits_data.load_splits
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digits, "load_splits", load)
        found.run(lambda record: None)
    return found


@pytest.fixture(scope="module")
def outcome(search: Search, store: Store) -> Outcome:
    return search.finish(io.StringIO(), store)


def test_trials_are_judged_without_the_test_split(search: Search) -> None:
    assert [each.state for each in search.records] == ["finished"] * 3
    assert all(len(each.losses) == 2 for each in search.records)
    assert len({each.loss for each in search.records}) == 3


def test_the_best_is_tested_once_and_saved_with_the_search_on_its_card(
    search: Search, outcome: Outcome, store: Store
) -> None:
    assert search.best is not None
    assert outcome.entry is not None
    assert (outcome.entry.name, outcome.entry.version) == ("digits", 1)
    manifest = store.manifest("digits@1")
    assert manifest.metrics["test_accuracy"] > 0.5
    assert manifest.training["search_trials"] == 3
    assert manifest.training["search_val_loss"] == search.best.loss
    card = json.loads(outcome.bundle.path("card.json").read_bytes())
    note = next(each for each in card["notes"] if "search of 3 trials" in each)
    assert "3 trials over learning_rate 0.0003..0.03" in note
    assert "the test split was read after that" in note
    assert len(card["history"]) == 2


def test_the_command_makes_the_same_model(search: Search, outcome: Outcome, folder: Path) -> None:
    from modelpad.training.pipeline import train

    assert search.best is not None
    words = write_command(search, search.best, None).split()
    args = build_parser(words[1:]).parse_args(words[1:])
    assert (args.data, args.epochs, args.limit, args.seed) == ("uci-digits", 2, 300, 3)
    options = build_options(RECIPE.options, vars(args))
    request = replace(search.request, folder=folder / "again")
    again = train(RECIPE, options, request, out=io.StringIO())
    assert again.metrics == outcome.metrics
    graphs = [each.bundle.path("model.onnx").read_bytes() for each in (again, outcome)]
    assert graphs[0] == graphs[1]


def test_the_report_shows_every_trial(search: Search, outcome: Outcome) -> None:
    write_report(search, None)
    page = (search.folder / REPORT).read_text("utf-8")
    assert page.count("<img") == 4  # by trial, and for each option
    assert all(f'<th scope="row">{number}</th>' in page for number in (1, 2, 3))
    assert "modelpad train digits --data uci-digits" in page
    link = re.search(r'href="(trial-\d+/report.html)"', page)
    assert link is not None
    assert (search.folder / link[1]).is_file()
