"""Trains one model by several processes, a team: each learns from its rows of every batch.

All run the same recipe, from the same seed and on the same data, and take the same steps with the
average of their gradients. The first one, the leader, also validates, saves and tests. It depends
on `torch.distributed` alone, and imports it only in the processes of a team.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from modelpad.errors import TrainingFailed, UsageError
from modelpad.training.seeding import derive_seed

if TYPE_CHECKING:
    import torch

PREFIX = "modelpad"  # of what a team keeps in a store that others use, too
# The others wait while the leader validates; a process that dies ends the waiting at once.
PATIENCE = timedelta(days=7)
GRACE_S = 20.0  # for the process that failed to say why, before the others fail, too


class FollowerEnded(Exception):
    """The training has ended, and the leader goes on: this process's part is done."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a team: `host` and `port` are those of a `torch.distributed.TCPStore`."""

    host: str
    port: int
    rank: int
    size: int


@dataclass(frozen=True, slots=True)
class Team:
    """`size` processes, of which this is number `rank`; a process on its own is a team of one.

    `wants_to_stop` says whether this one was interrupted: then all stop at the same step.
    """

    rank: int = 0
    size: int = 1
    wants_to_stop: Callable[[], bool] = lambda: False

    @property
    def leads(self) -> bool:
        """Whether this process validates, logs, saves and tests."""
        return self.rank == 0

    def part(self, rows: int) -> slice:
        """This process's rows of a batch of `rows`; parts differ by one row at most.

        Raises `UsageError` if there is none for each process.
        """
        if rows < self.size:
            raise UsageError(
                f"A batch has {rows} row{'s' * (rows != 1)}, too few for {self.size} workers.",
                hint=f"Give a larger --batch-size, or --train-workers {max(1, rows)} at most.",
            )
        return slice(self.rank * rows // self.size, (self.rank + 1) * rows // self.size)

    def vary(self, seed: int) -> int:
        """The seed of what may differ between the processes, such as dropout and augmentation."""
        return derive_seed(seed, self.rank) if self.rank else seed

    def average(self, gradients: Iterable[torch.Tensor | None], rows: int) -> None:
        """Replaces gradients of the mean over `rows` by those of the mean over the whole batch.

        Batch normalisation and losses that compare rows still see only those of one process.

        Raises:
            KeyboardInterrupt: a process of the team was interrupted; in all of them.
            TrainingFailed: a process has died.
        """
        if self.size == 1:
            return
        import torch
        from torch import distributed

        kept = [each for each in gradients if each is not None]
        extra = kept[0].new_tensor([float(rows), float(self.wants_to_stop())])
        flat = torch.cat([*(rows * each.reshape(-1) for each in kept), extra])
        with explain_loss():
            distributed.all_reduce(flat)
        total, stopped = flat[-2:].tolist()
        if stopped:
            raise KeyboardInterrupt
        unpack(flat / total, kept)

    def align(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replaces floating-point tensors, such as weights, by those of the leader.

        Before each epoch: what differs by rounding between machines does not add up. It also waits
        for the leader. Raises `TrainingFailed` if a process has died.
        """
        if self.size == 1:
            return
        import torch
        from torch import distributed

        kept = [each for each in tensors if each.is_floating_point()]
        for dtype in sorted({each.dtype for each in kept}, key=str):
            same = [each for each in kept if each.dtype == dtype]
            flat = torch.cat([each.detach().reshape(-1) for each in same])
            with explain_loss():
                distributed.broadcast(flat, 0)
            unpack(flat, same)

    def check_alone(self, what: str, why: str) -> None:
        """Raises `UsageError` in a team: `what` needs a process on its own."""
        if self.size > 1:
            raise UsageError(
                f"{what} does not work with --train-workers {self.size}: {why}.",
                hint="Leave --train-workers out.",
            )


ALONE = Team()


def unpack(flat: torch.Tensor, tensors: Sequence[torch.Tensor]) -> None:
    """Copies the numbers of one flat tensor into others, in their order."""
    import torch

    with torch.no_grad():
        at = 0
        for each in tensors:
            each.copy_(flat[at : at + each.numel()].view_as(each))
            at += each.numel()


def join(place: Place) -> None:
    """Joins a team and waits for the others; from then on, `find_team` returns it.

    Gradients go over NCCL between GPUs, and over Gloo between CPUs.
    """
    from torch import distributed

    store = distributed.TCPStore(  # type: ignore[attr-defined]
        place.host, place.port, is_master=False
    )
    distributed.init_process_group(
        store=distributed.PrefixStore(PREFIX, store),  # type: ignore[attr-defined]
        rank=place.rank,
        world_size=place.size,
        timeout=PATIENCE,
    )


def find_team() -> Team:
    """The team that this process has joined; it is alone without one."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return ALONE
    return Team(distributed.get_rank(), distributed.get_world_size())


@contextmanager
def explain_loss() -> Iterator[None]:
    """Says that another process has died; not at once, as it says why itself."""
    try:
        yield
    except RuntimeError as error:
        time.sleep(GRACE_S)
        raise TrainingFailed(
            "Another worker of this training has ended.", hint="See what it says, and start again."
        ) from error
