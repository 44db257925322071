"""A search on a recipe whose losses are known: what is proposed, pruned, kept and resumed."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelpad.errors import DataSetNotFound, MissingExtra, TrainingFailed, UsageError
from modelpad.training.ranges import Range
from modelpad.training.recipe import Trained
from modelpad.training.run import Run, TrainRequest
from modelpad.training.trial import TrialEnded
from modelpad.tuning.journal import TRIALS, TrialRecord
from modelpad.tuning.judge import Judge
from modelpad.tuning.proposals import Proposal, rank_options
from modelpad.tuning.search import Search, SearchPlan
from tests.tuning import toy

pytest.importorskip("optuna")
SPACE = {"x": Range(0.0, 1.0)}


def make(folder: Path, trials: int = 3, *, resume: bool = False, **plan: Any) -> Search:
    request = TrainRequest(name="toy", data="uci-digits", folder=folder, resume=resume)
    return Search(toy.RECIPE, toy.Options(), request, SearchPlan(trials, **plan))


def run(search: Search) -> list[TrialRecord]:
    shown: list[TrialRecord] = []
    search.run(shown.append)
    assert shown == [*search.records][-len(shown) :]
    return shown


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], None]], None]:
    """Calls a function at each epoch of each trial."""
    return lambda function: monkeypatch.setattr(toy, "at_epoch", [function])


def test_it_begins_with_the_defaults_and_finds_the_best(tmp_path: Path) -> None:
    search = make(tmp_path, 12)
    records = run(search)
    assert [each.number for each in records] == [*range(1, 13)]
    assert records[0].values == {}
    assert records[0].used == {"x": 1.0}
    assert records[0].loss == pytest.approx(0.7 + 1 / toy.EPOCHS)
    assert search.default is records[0]
    best = search.best
    assert best is not None
    assert best.values["x"] == pytest.approx(0.3, abs=0.1)
    assert all(f"{each.values['x']:.3g}" == f"{each.values['x']}" for each in records[2:4])
    assert toy.folder_of(tmp_path) == [f"trial-{best.number:03}", TRIALS]


def test_poor_trials_are_pruned(tmp_path: Path) -> None:
    records = run(make(tmp_path, 16))
    pruned = [each for each in records if each.state == "pruned"]
    assert pruned
    assert all(1 < len(each.losses) < toy.EPOCHS for each in pruned)
    before = [TrialRecord(n, {"x": 0.3}, "finished", (1.0, 0.5), 2, 1) for n in range(1, 5)]
    proposal = Proposal(SPACE, before, 0)
    assert not proposal.is_poor([5.0], 4)  # too early to tell
    assert proposal.is_poor([5.0, 4.0], 4)
    assert not Proposal(SPACE, before, 0).is_poor([5.0, 4.0], 2)  # the last epoch anyway
    assert not Proposal(SPACE, before, 0).is_poor([0.9, 0.4], 4)


def test_a_search_that_died_goes_on_as_it_would_have(tmp_path: Path, call: Any) -> None:
    whole = run(make(tmp_path / "whole", 8))

    class Killed(BaseException):
        pass

    steps = itertools.count()

    def die(epoch: int) -> None:
        if next(steps) == 4 * toy.EPOCHS + 2:
            raise Killed

    call(die)
    died = make(tmp_path / "died", 8)
    with pytest.raises(Killed):
        run(died)
    assert len(died.records) == 4
    with (tmp_path / "died" / TRIALS).open("a") as file:
        file.write('{"number": 5, "val')  # as a crash may leave it
    trained: list[int] = []
    call(trained.append)
    resumed = make(tmp_path / "died", 8, resume=True)
    run(resumed)
    assert [each.values for each in resumed.records] == [each.values for each in whole]
    assert [each.losses for each in resumed.records] == [each.losses for each in whole]
    assert trained[0] == 2  # the epochs of the trial that was running are kept
    with pytest.raises(TrainingFailed, match="made with a different space"):
        make(tmp_path / "died", 8, resume=True, settings=("x=0..0.5",))
    with pytest.raises(TrainingFailed, match="no search"):
        make(tmp_path / "nothing", resume=True)


def test_a_search_that_died_in_its_first_trial_goes_on(tmp_path: Path, call: Any) -> None:
    def die(epoch: int) -> None:
        if epoch == 2:
            raise SystemExit

    call(die)
    with pytest.raises(SystemExit):
        run(make(tmp_path))
    trained: list[int] = []
    call(trained.append)
    run(make(tmp_path, 1, resume=True))
    assert trained == [2, 3]


def test_a_new_search_forgets_the_last_one(tmp_path: Path) -> None:
    run(make(tmp_path, 3))
    search = make(tmp_path, 1)
    assert not search.records
    run(search)
    assert toy.folder_of(tmp_path) == ["trial-001", TRIALS]
    assert len(search.records[0].losses) == toy.EPOCHS


def test_a_search_that_cannot_begin_leaves_the_last_one(tmp_path: Path) -> None:
    run(make(tmp_path, 3))
    before = (toy.folder_of(tmp_path), (tmp_path / TRIALS).read_bytes())

    def miss(options: toy.Options, run: Run) -> Trained:
        raise DataSetNotFound("There is no data.")

    request = TrainRequest(name="toy", data="none", folder=tmp_path)
    recipe = replace(toy.RECIPE, train=miss)
    with pytest.raises(DataSetNotFound):
        run(Search(recipe, toy.Options(), request, SearchPlan(1)))
    assert (toy.folder_of(tmp_path), (tmp_path / TRIALS).read_bytes()) == before


def test_ctrl_c_ends_the_search_with_the_best_so_far(tmp_path: Path, call: Any) -> None:
    def stop(epoch: int) -> None:
        if len(search.records) == 2:
            raise KeyboardInterrupt

    call(stop)
    search = make(tmp_path, 9)
    run(search)
    assert search.interrupted
    assert len(search.records) == 2
    assert search.best is not None


def test_stopped_before_the_first_trial_there_is_no_model(tmp_path: Path, call: Any) -> None:
    def stop(epoch: int) -> None:
        raise KeyboardInterrupt

    call(stop)
    search = make(tmp_path)
    run(search)
    with pytest.raises(TrainingFailed, match="before the first trial finished"):
        search.finish(None, None)  # type: ignore[arg-type]


def test_a_timeout_keeps_at_least_the_first_trial(tmp_path: Path) -> None:
    search = make(tmp_path, timeout_s=1e-9)
    search.run(lambda record: None)
    assert not search.records  # nothing begins after it
    search = make(tmp_path, 50, timeout_s=0.05)
    run(search)
    assert search.records[0].state == "finished"
    assert len(search.records) < 50


def test_a_trial_that_fails_is_recorded_and_the_search_goes_on(tmp_path: Path, call: Any) -> None:
    errors = {1: MemoryError(), 2: RuntimeError("can't allocate memory: 9 GB"), 3: UsageError("no")}

    def fail(epoch: int) -> None:
        error = errors.get(len(search.records))
        if error is not None:
            raise error

    call(fail)
    search = make(tmp_path, 5)
    run(search)
    reasons = [(each.state, each.reason) for each in search.records[1:4]]
    assert reasons == [("failed", "out of memory")] * 2 + [("failed", "no")]
    assert search.records[4].state == "finished"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), "not enough memory"),
        (UsageError("--x is bad."), "--x is bad"),
        (RuntimeError("a bug"), "a bug"),
    ],
)
def test_a_first_trial_that_fails_ends_the_search(
    tmp_path: Path, call: Any, error: Exception, expected: str
) -> None:
    def fail(epoch: int) -> None:
        raise error

    call(fail)
    kind = TrainingFailed if isinstance(error, MemoryError) else type(error)
    with pytest.raises(kind, match=expected):
        make(tmp_path).run(lambda record: None)


def test_a_loss_that_is_no_number_fails_the_trial() -> None:
    judge = Judge("val_loss", Proposal(SPACE, [], 0), lambda: False)
    judge.report([{"val_loss": 1.0}], 4)
    with pytest.raises(TrialEnded):
        judge.report([{"val_loss": 1.0}, {"val_loss": math.nan}], 4)
    assert (judge.state, judge.reason) == ("failed", "val_loss is nan")


def test_what_the_defaults_are_is_learnt_from() -> None:
    """Ten trials whose values are given, and ten whose values the recipe has told."""

    def propose(*, told: bool) -> float:
        points = [n / 10 for n in range(10)]
        records = [
            TrialRecord(
                number=n + 1,
                values={} if told else {"x": x},
                state="finished",
                losses=(abs(x - 0.3),),
                epochs=1,
                seconds=1,
                used={"x": x} if told else {},
            )
            for n, x in enumerate(points)
        ]
        return Proposal(SPACE, records, 0).values["x"]

    assert propose(told=True) == propose(told=False)


def test_a_plan_without_trials_or_time_is_refused() -> None:
    with pytest.raises(UsageError, match="--trials is 0"):
        SearchPlan(0)
    for minutes in (0, -1, math.nan, math.inf):
        with pytest.raises(UsageError, match="--timeout"):
            SearchPlan(timeout_s=60 * minutes)


@pytest.mark.slow
def test_the_option_that_matters_ranks_first() -> None:
    space = {"x": Range(0.0, 1.0), "y": Range(0.0, 1.0)}
    points = [(x / 5, y / 3) for x in range(5) for y in range(3)]
    records = [
        TrialRecord(n + 1, {"x": x, "y": y}, "finished", (x + 0.01 * y,), 1, 1)
        for n, (x, y) in enumerate(points)
    ]
    found = rank_options(space, records)
    assert [*found] == ["x", "y"]
    assert found["x"] > 0.9
    assert rank_options(space, records[:9]) == {}


def test_without_optuna_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtra) as caught:
        Proposal(SPACE, [], 0)
    assert caught.value.details["extra"] == "tune"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "no search"),
        (b"\xff\xfe\n", "no search"),
        (b"[]\n", "no search"),
        (b"{}\n", "a different recipe"),
        (b'HEAD\n{"number": 1}\n', "not a trial"),
        (b'HEAD\n{"losses": [], "more": 1}\n', "not a trial"),
    ],
)
def test_a_damaged_journal_is_refused(tmp_path: Path, body: bytes, message: str) -> None:
    run(make(tmp_path, 1))
    head, _, _ = (tmp_path / TRIALS).read_bytes().partition(b"\n")
    (tmp_path / TRIALS).write_bytes(body.replace(b"HEAD", head))
    with pytest.raises(TrainingFailed, match=message):
        make(tmp_path, resume=True)


def test_the_journal_is_lines_of_json(tmp_path: Path) -> None:
    run(make(tmp_path, 2))
    head, *trials = map(json.loads, (tmp_path / TRIALS).read_text().splitlines())
    assert head["recipe"] == "toy"
    assert head["space"]["x"]["high"] == 1.0
    assert [each["state"] for each in trials] == ["finished"] * 2
