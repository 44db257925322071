"""Processes that train one model together."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modelpad.errors import TrainingFailed, UsageError
from modelpad.recipes.text.language import LanguagePlan, LanguageTrainer
from modelpad.recipes.text.network import LanguageModel, Shape
from modelpad.recipes.text.tokens import START, join_parts
from modelpad.training.device import Device
from modelpad.training.parallel import ALONE, FollowerEnded, Team, find_team
from modelpad.training.run import Run, TrainRequest
from tests.training.teams import RunTogether, start_team

ROWS = 7
CPU = Device("cpu", torch.float32)


@pytest.fixture(scope="module")
def together() -> Iterator[RunTogether]:
    with start_team() as run:
        yield run


def take_steps(team: Team) -> list[torch.Tensor]:
    """The gradients of the first step, then the weights after five."""
    torch.manual_seed(1)
    net = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3))
    net.double()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    inputs, targets = torch.randn(ROWS, 5, dtype=torch.float64), torch.randint(3, (ROWS,))
    part, found = team.part(ROWS), list[torch.Tensor]()
    for _ in range(5):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(inputs[part]), targets[part])
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [each.grad for each in net.parameters() if each.grad is not None]
        team.average(gradients, len(inputs[part]))
        found = found or [each.clone() for each in gradients]
        optimizer.step()
    return [*found, *(each.detach() for each in net.parameters())]


def test_unequal_parts_take_the_steps_of_the_whole_batch(together: RunTogether) -> None:
    whole = take_steps(ALONE)
    for found in together(take_steps):
        assert len(found) == len(whole) == 8
        for mine, expected in zip(found, whole, strict=True):
            torch.testing.assert_close(mine, expected, rtol=1e-12, atol=1e-15)


def read_text(team: Team) -> torch.Tensor:
    """The weights of a language model after a pass without dropout, by three lanes."""
    rng = np.random.default_rng(0)
    texts = [np.array([START, *rng.integers(1, 20, 15)], np.uint16) for _ in range(12)]
    sizes = np.array([len(each) for each in texts], np.int64)
    plan = LanguagePlan("text", passes=1, lanes=3, span=8, dropout=0.0)
    torch.manual_seed(team.rank)  # the leader's weights count
    net = LanguageModel(Shape("mingru", 20, 8, 8, 1))
    trainer = LanguageTrainer(net, join_parts(texts, sizes, sizes), plan, CPU, team)
    trainer.train_pass(lambda step, steps, loss: None)
    return torch.cat([each.detach().reshape(-1) for each in net.parameters()])


def test_a_language_model_learns_the_same(together: RunTogether) -> None:
    whole = read_text(ALONE)
    for found in together(read_text):
        torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-5)


def align_and_stop(team: Team) -> tuple[list[torch.Tensor], str]:
    """What is aligned; then the second process is interrupted."""
    tensors = [torch.full((2, 2), team.rank + 1.0), torch.tensor([team.rank])]
    team.align(tensors)
    interrupted = replace(team, wants_to_stop=lambda: team.rank == 1)
    try:
        interrupted.average([torch.ones(2)], 1)
    except KeyboardInterrupt:
        return tensors, "stopped"
    return tensors, "went on"


def test_weights_are_the_leaders_and_an_interrupt_is_everyones(together: RunTogether) -> None:
    for rank, (tensors, end) in enumerate(together(align_and_stop)):
        assert tensors[0].tolist() == [[1, 1], [1, 1]]
        assert tensors[1].tolist() == [rank]  # no weight
        assert end == "stopped"


def leave_early(team: Team) -> None:
    if team.rank == 1:
        os._exit(1)
    team.average([torch.ones(2)], 1)


def test_a_process_that_dies_ends_the_others(together: RunTogether) -> None:
    leader, follower = together(leave_early)  # the last one of these tests
    assert isinstance(follower, BrokenProcessPool)
    assert isinstance(leader, TrainingFailed)
    assert "Another worker" in str(leader)


def test_parts_cover_a_batch() -> None:
    for rows, size in ((4, 4), (7, 3), (128, 5)):
        parts = [range(rows)[Team(rank, size).part(rows)] for rank in range(size)]
        assert [row for part in parts for row in part] == list(range(rows))
    with pytest.raises(UsageError, match="A batch has 3 rows, too few for 4 workers"):
        Team(0, 4).part(3)


def test_a_process_on_its_own_does_nothing() -> None:
    gradient = torch.ones(2)
    ALONE.average([gradient], 5)
    ALONE.align([gradient])
    assert find_team() is ALONE
    assert ALONE.leads
    assert ALONE.vary(3) == 3 != Team(1, 2).vary(3)
    assert range(9)[ALONE.part(9)] == range(9)


def make_run(folder: Path, team: Team) -> Run:
    request = TrainRequest("m", "uci-digits", folder, epochs=1)
    return Run(request, {}, io.StringIO(), team=team)


def train_epoch(run: Run) -> None:
    run.set_epochs(1)
    with run.interruptible():
        for epoch in run.remaining_epochs():
            run.progress(epoch, 1, 1, {"loss": 1.0})
            run.log(epoch, {"val_loss": 1.0})
            run.save(lambda folder: (folder / "word").write_text("leader"), loss=1.0)
    run.restore_best(lambda folder: None)


def test_a_follower_writes_nothing_and_ends_before_the_test(tmp_path: Path) -> None:
    train_epoch(make_run(tmp_path, Team(0, 2)))
    before = sorted(tmp_path.rglob("*"))
    assert before
    with pytest.raises(FollowerEnded):
        train_epoch(make_run(tmp_path, Team(1, 2)))
    assert sorted(tmp_path.rglob("*")) == before
    assert not list(tmp_path.rglob("*.new"))


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send itself an interrupt")
def test_an_interrupt_waits_for_the_step_that_all_end_with(tmp_path: Path) -> None:
    seen: list[Any] = []
    run = make_run(tmp_path, Team(0, 2))
    run.set_epochs(1)
    with run.interrupts.installed(), run.interruptible():
        run.log(0, {"val_loss": 1.0})
        run.save(lambda folder: None, loss=1.0)
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
            run.progress(0, 1, 2, {"loss": 1.0})
            seen.append(run.team.wants_to_stop())
        raise KeyboardInterrupt  # as `average` does then
    assert seen == [True, True]


def train_digits(team: Team, folder: Path, *, resume: bool, stop: bool) -> tuple[float, bool]:
    """The test accuracy of two epochs, and whether they were stopped, after the first one."""
    from modelpad.recipes.digits import RECIPE, DigitsOptions
    from modelpad.training.pipeline import train

    def watch(share: float, step: str) -> None:
        if stop and team.leads and share > 0.5:
            signal.raise_signal(signal.SIGINT)

    request = TrainRequest("m", "uci-digits", folder, epochs=2, limit=200, resume=resume)
    options = DigitsOptions(arch="mlp", no_unknown=True)
    done = train(RECIPE, options, request, out=io.StringIO(), watch=watch)
    return done.metrics["test_calibration_error"], done.stopped_early


@pytest.mark.slow
@pytest.mark.long
def test_an_interrupted_training_resumes_and_ends_as_that_of_one_process(tmp_path: Path) -> None:
    one, _ = train_digits(ALONE, tmp_path / "one", resume=False, stop=False)
    work = partial(train_digits, folder=tmp_path / "two")
    with start_team() as together:
        leader, follower = together(partial(work, resume=False, stop=True))
        assert leader[1]
        assert isinstance(follower, FollowerEnded)
        leader, follower = together(partial(work, resume=True, stop=False))
    assert leader == (pytest.approx(one, abs=1e-4), False)
    assert isinstance(follower, FollowerEnded)
