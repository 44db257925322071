"""Starts a server in this process, or in several workers and a supervisor."""

from __future__ import annotations

import gc
import os
import random
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from modelpad.server.prefork import prepare_shared_state

if TYPE_CHECKING:
    from socket import socket

    from modelpad.server.options import ServeEvents, ServeOptions
    from modelpad.server.prefork import SharedState

# Importing makes many objects and hardly any garbage. Bodies of nested lists do as well.
COLLECT_AFTER = (50_000, 20, 50)
JITTER = (0.8, 1.2)  # so that servers which started together do not look at a store together


def launch(options: ServeOptions, events: ServeEvents) -> int:
    """Serves until SIGINT or SIGTERM; returns the exit code.

    Raises:
        PortInUse: another program listens there.
        UsageError: the options conflict.
        ModelpadError: a model cannot be found or loaded.
    """
    gc.set_threshold(*COLLECT_AFTER)
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

    import_for_workers(options.models.device)
    poll_interval_s = options.models.interval_s * random.uniform(*JITTER)
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


def import_for_workers(device: str) -> None:
    """Imports what every worker needs, so that they share its memory and start without importing.

    On Linux only: libraries of other systems do not survive a fork. Those for other devices than
    CPUs may start threads, and are left to the workers.
    """
    if sys.platform != "linux":
        return
    from modelpad.runtime import load_onnxruntime
    from modelpad.server import assembly  # noqa: F401

    if device == "cpu":
        load_onnxruntime()
