"""Starts a server in this process, or in several workers and a supervisor."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from modelpad.server.prefork import prepare_shared_state

if TYPE_CHECKING:
    from socket import socket

    from modelpad.server.options import ServeEvents, ServeOptions
    from modelpad.server.prefork import SharedState


def launch(options: ServeOptions, events: ServeEvents) -> int:
    """Serves until SIGINT or SIGTERM; returns the exit code.

    Raises:
        PortInUse: another program listens there.
        UsageError: the options conflict.
        ModelpadError: a model cannot be found or loaded.
    """
    shared = prepare_shared_state(options)

    def work(connection: socket | None, workers: int) -> int:
        from modelpad.server.assembly import run_process

        run_process(options, events, shared, connection, workers)
        return 0

    if options.workers.count == 1 or not hasattr(os, "fork"):
        return work(None, 1)
    return run_workers(options, shared, work)


def run_workers(
    options: ServeOptions, shared: SharedState, work: Callable[[socket, int], int]
) -> int:
    """Runs `work` in worker processes; returns the exit code of this process, or of a worker."""
    from modelpad.server.workers.fleet import Fleet
    from modelpad.server.workers.supervisor import TICK_S, Supervisor

    poll_interval_s = options.models.poll_interval_s
    fleet = Fleet(
        options.workers.count,
        shutdown_timeout_s=options.workers.shutdown_timeout_s,
        poll_interval_s=poll_interval_s,
        overrides=shared.overrides,
    )
    supervisor = Supervisor(
        fleet,
        work,
        listener=shared.listener,
        memory=shared.memory,
        turns=shared.turns,
        tick_s=min(TICK_S, poll_interval_s or TICK_S),
    )
    return supervisor.run()
