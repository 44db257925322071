"""Processes that train one model together, over Gloo on this machine."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch

from modelpad.errors import TrainingFailed, UsageError
from modelpad.training import parallel
from modelpad.training.parallel import ALONE, Place, Team, find_team, join

ROWS = 7


def run_together(work: Callable[..., Any], size: int, *given: object) -> list[Any]:
    """What `work(team, *given)` returns in each of so many processes; an error as itself."""
    context = multiprocessing.get_context("spawn")
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, timeout=timedelta(30))
    places = [Place("127.0.0.1", store.port, rank, size) for rank in range(size)]
    with context.Pool(size) as pool:
        return pool.starmap(begin, [(work, place, given) for place in places], chunksize=1)


def begin(work: Callable[..., Any], place: Place, given: tuple[object, ...]) -> Any:
    torch.set_num_threads(1)
    parallel.GRACE_S = 0.1
    join(place)
    try:
        return work(find_team(), *given)
    except (Exception, KeyboardInterrupt) as error:
        return error


def make_net() -> torch.nn.Module:
    torch.manual_seed(1)
    layers = [torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3)]
    return torch.nn.Sequential(*layers).double()


def read_batch() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(2)
    inputs = torch.randn(ROWS, 5, generator=random, dtype=torch.float64)
    return inputs, torch.randint(3, (ROWS,), generator=random)


def take_steps(team: Team) -> list[torch.Tensor]:
    """The gradients of the first step, then the weights after five."""
    net = make_net()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    inputs, targets = read_batch()
    part, found = team.part(ROWS), []
    for step in range(5):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(inputs[part]), targets[part])
        loss.backward()  # type: ignore[no-untyped-call]
        team.average((each.grad for each in net.parameters()), len(inputs[part]))
        if step == 0:
            found = [each.grad.clone() for each in net.parameters() if each.grad is not None]
        optimizer.step()
    return [*found, *(each.detach() for each in net.parameters())]


def test_unequal_parts_take_the_steps_of_the_whole_batch() -> None:
    whole = take_steps(ALONE)
    for found in run_together(take_steps, 3):
        assert len(found) == len(whole) == 8
        for mine, expected in zip(found, whole, strict=True):
            torch.testing.assert_close(mine, expected, rtol=1e-12, atol=1e-15)


def align_and_stop(team: Team) -> tuple[list[torch.Tensor], str]:
    """What is aligned; then the second process is interrupted."""
    tensors = [torch.full((2, 2), team.rank + 1.0), torch.tensor([team.rank]), torch.ones(3)]
    tensors[2] += team.rank
    team.align(tensors)
    interrupted = Team(team.rank, team.size, lambda: team.rank == 1)
    try:
        interrupted.average([torch.ones(2)], 1)
    except KeyboardInterrupt:
        return tensors, "stopped"
    return tensors, "went on"


def test_weights_are_the_leaders_and_an_interrupt_is_everyones() -> None:
    for rank, (tensors, end) in enumerate(run_together(align_and_stop, 2)):
        assert tensors[0].tolist() == [[1, 1], [1, 1]]
        assert tensors[1].tolist() == [rank]  # no weight
        assert tensors[2].tolist() == [1, 1, 1]
        assert end == "stopped"


def leave_early(team: Team) -> None:
    if team.rank == 1:
        torch.distributed.destroy_process_group()
        return
    team.average([torch.ones(2)], 1)


def test_a_process_that_dies_ends_the_others() -> None:
    leader, _ = run_together(leave_early, 2)
    assert isinstance(leader, TrainingFailed)
    assert "Another worker" in str(leader)


def test_parts_cover_a_batch() -> None:
    for rows, size in ((4, 4), (7, 3), (128, 5)):
        parts = [range(rows)[Team(rank, size).part(rows)] for rank in range(size)]
        assert [row for part in parts for row in part] == list(range(rows))
    with pytest.raises(UsageError, match="A batch has 3 rows, too few for 4 workers"):
        Team(0, 4).part(3)


def test_a_process_on_its_own_does_nothing(tmp_path: Path) -> None:
    gradient = torch.ones(2)
    ALONE.average([gradient], 5)
    ALONE.align([gradient])
    assert find_team() is ALONE
    assert ALONE.leads
    assert ALONE.vary(3) == 3 != Team(1, 2).vary(3)
    assert range(9)[ALONE.part(9)] == range(9)
