"""Starts and stops worker processes, and passes messages between them and the fleet.

Workers are forked and accept from one listening socket, so no waiting connection is lost when one
of them exits. The supervisor loads no model and serves no request. What it has imported, the
workers share; it has no threads that a fork would break.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator

from modelpad.errors import first_line
from modelpad.server.http.turns import AcceptTurns
from modelpad.server.workers.actions import (
    Action,
    CloseListener,
    Exit,
    Fork,
    Kill,
    LogError,
    MeasureMemory,
    Send,
    Terminate,
)
from modelpad.server.workers.connection import READ_BYTES, WorkerConnection
from modelpad.server.workers.fleet import Fleet
from modelpad.server.workers.memory import WorkerMemory

log = logging.getLogger("modelpad.server")

TICK_S = 0.5
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Forked(BaseException):
    """This process is a new worker; unwinds the supervisor's frames."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self.connection = connection


class Supervisor:
    """Carries out the fleet's decisions: forks workers that run `work`, and sends them messages.

    `work` gets the worker's end of the socket and the number of workers (0 when it decides), and
    returns an exit code. The workers accept from `listener`, which is closed here on shutdown: a
    connection would otherwise wait for workers that no longer accept. `memory` is the limit of each
    worker. They take `turns` to accept. The fleet ticks at least every `tick_s`.
    """

    def __init__(
        self,
        fleet: Fleet,
        work: Callable[[socket.socket, int], int],
        *,
        listener: socket.socket | None = None,
        memory: WorkerMemory | None = None,
        turns: AcceptTurns | None = None,
        tick_s: float = TICK_S,
    ) -> None:
        if not hasattr(os, "fork"):
            raise NotImplementedError("worker processes need os.fork")
        self.fleet = fleet
        self.work = work
        self.listener = listener
        self.memory = memory or WorkerMemory(0)
        self.turns = turns or AcceptTurns()
        self.tick_s = tick_s
        self._connections: dict[int, WorkerConnection] = {}
        self._places: dict[int, int] = {}  # in the turns, by worker
        self._selector = selectors.DefaultSelector()

    def run(self) -> int:
        """Runs until SIGINT or SIGTERM; returns the exit code.

        In a worker it returns or raises whatever `work` does.
        """
        gc.freeze()  # so that memory allocated up to now stays shared with the workers
        try:
            with self._handle_signals():
                return self._run_fleet()
        except Forked as forked:
            connection = forked.connection
        return self.work(connection, self.fleet.count)

    def _run_fleet(self) -> int:
        while True:
            exit_code = self._perform(self.fleet.tick(time.monotonic()))
            if exit_code is None:
                exit_code = self._wait_for_events()
            if exit_code is not None:
                return exit_code

    def _wait_for_events(self) -> int | None:
        for connection in self._connections.values():
            connection.flush()
        for key, _ in self._selector.select(self.tick_s):
            if isinstance(key.data, WorkerConnection):
                self._receive(key.data)
            else:
                with contextlib.suppress(BlockingIOError):
                    key.data.recv(READ_BYTES)  # a signal woke us up
        return self._reap()

    def _perform(self, actions: Iterable[Action]) -> int | None:
        """Executes the actions; returns the code of `Exit`."""
        for action in actions:
            match action:
                case Send():
                    if action.pid in self._connections:
                        self._connections[action.pid].send(action.message)
                case Fork():
                    self._start_worker()
                case Terminate():
                    _send_signal(action.pid, signal.SIGTERM)
                case Kill():
                    _send_signal(action.pid, signal.SIGKILL)
                case MeasureMemory():
                    self._measure_memory(action)
                case CloseListener():
                    if self.listener is not None:
                        self.listener.close()
                case LogError():
                    log.error("%s", action.text)
                case Exit():
                    return action.code
        return None

    def _start_worker(self) -> None:
        """Forks a worker; when the system refuses and others serve, it is tried again later."""
        try:
            pid = self._fork()
        except OSError as error:
            if not self._connections:
                raise
            self._perform(self.fleet.start_failed(first_line(error), time.monotonic()))
        else:
            self._perform(self.fleet.worker_started(pid))

    def _fork(self) -> int:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        sys.stdout.flush()
        sys.stderr.flush()
        # The child must not handle a signal with the supervisor's handlers.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        place = self.turns.reserve()
        try:
            pid = os.fork()
        except OSError:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
            self.turns.release(place)
            ours.close()
            theirs.close()
            raise
        if pid == 0:
            self._become_worker(ours)
            raise Forked(theirs)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        theirs.close()
        self._connections[pid] = WorkerConnection(pid, ours)
        self._places[pid] = place
        self._selector.register(ours, selectors.EVENT_READ, self._connections[pid])
        return pid

    def _become_worker(self, ours: socket.socket) -> None:
        signal.set_wakeup_fd(-1)
        for kind in (*STOP_SIGNALS, signal.SIGCHLD):
            signal.signal(kind, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        self._selector.close()
        ours.close()
        for other in self._connections.values():
            other.socket.close()

    def _receive(self, connection: WorkerConnection) -> None:
        for message in connection.receive():
            self._perform(self.fleet.message_received(connection.pid, message, time.monotonic()))
        if connection.closed:
            self._unregister(connection)

    def _reap(self) -> int | None:
        """Reports exited workers to the fleet; returns the code of `Exit`."""
        for connection in list(self._connections.values()):
            pid, status = os.waitpid(connection.pid, os.WNOHANG)
            if not pid:
                continue
            now = time.monotonic()
            for message in connection.receive_all():
                self._perform(self.fleet.message_received(pid, message, now))
            self._unregister(connection)
            connection.socket.close()
            del self._connections[pid]
            self.turns.release(self._places.pop(pid))
            code = os.waitstatus_to_exitcode(status)
            exit_code = self._perform(self.fleet.worker_exited(pid, code, now))
            if exit_code is not None:
                return exit_code
        return None

    def _unregister(self, connection: WorkerConnection) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(connection.socket)

    def _measure_memory(self, request: MeasureMemory) -> None:
        limit_bytes = self.memory.limit(request.workers)
        if limit_bytes:
            sizes = self.memory.measure(request.pids)
            self._perform(self.fleet.memory_measured(sizes, limit_bytes, time.monotonic()))

    @contextlib.contextmanager
    def _handle_signals(self) -> Iterator[None]:
        """Stops the fleet on SIGINT and SIGTERM; every signal ends the wait for events."""
        awake, wake = socket.socketpair()
        awake.setblocking(False)
        wake.setblocking(False)
        self._selector.register(awake, selectors.EVENT_READ, awake)
        handlers = {
            kind: signal.signal(kind, lambda *_: self.fleet.stop()) for kind in STOP_SIGNALS
        }
        handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        last_fd = signal.set_wakeup_fd(wake.fileno())
        supervisor = os.getpid()
        try:
            yield
        finally:
            if os.getpid() == supervisor:
                signal.set_wakeup_fd(last_fd)
                for kind, handler in handlers.items():
                    signal.signal(kind, handler)
            awake.close()
            wake.close()


def _send_signal(pid: int, kind: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, kind)
