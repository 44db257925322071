"""Two processes that form a team, over Gloo on this machine."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

import torch

from modelpad.training import parallel
from modelpad.training.parallel import Place, find_team, join

RunTogether = Callable[..., list[Any]]
"""Calls `work(team, *given)` in each process, and returns what each returns or raises."""


@contextmanager
def start_team(size: int = 2) -> Iterator[RunTogether]:
    """Processes that have joined a team."""
    store = torch.distributed.TCPStore(  # type: ignore[attr-defined]
        "127.0.0.1", 0, is_master=True, timeout=timedelta(seconds=60)
    )
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                ProcessPoolExecutor(
                    1, context, take_place, (Place("127.0.0.1", store.port, rank, size),)
                )
            )
            for rank in range(size)
        ]

        def run(work: Callable[..., Any], *given: object) -> list[Any]:
            begun = [process.submit(attempt, work, *given) for process in processes]
            return [each.exception(timeout=300) or each.result() for each in begun]

        yield run


def take_place(place: Place) -> None:
    torch.set_num_threads(1)
    parallel.GRACE_S = 0.1
    join(place)


def attempt(work: Callable[..., Any], *given: object) -> Any:
    try:
        return work(find_team(), *given)
    except (Exception, KeyboardInterrupt) as error:
        return error
