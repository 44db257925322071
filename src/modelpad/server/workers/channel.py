"""A worker's end of the line to its supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import msgspec

from modelpad import errors
from modelpad.engine import allotted_cpus
from modelpad.errors import DeadlineExceeded, ModelpadError
from modelpad.server.workers import messages

if TYPE_CHECKING:
    from modelpad.server.host import ModelHost
    from modelpad.server.observability.metrics import Snapshot
    from modelpad.store import DesiredState

log = logging.getLogger("modelpad.server")

LIGHT_BYTES = 64 * 1024 * 1024
MAX_BY_DEFAULT = 8
LONGEST_LINE = 64 * 1024 * 1024
COUNT_S = 1.0  # between tellings of counts, so that little is lost when a worker is killed
COLLECT_S = 2.0
ORDER_S = 120.0


def choose_count(graph_bytes: int) -> int:
    """How many workers are best where nobody says: one for each processor allotted, at most 8.

    One alone for graphs that are large together: they cost more than the server around them, run
    without Python's lock, and need not be in memory several times.
    """
    return 1 if graph_bytes > LIGHT_BYTES else min(MAX_BY_DEFAULT, allotted_cpus())


class SupervisorChannel:
    """Speaks for one worker: what it counts, what it prepares, when it should stop.

    `workers` is how many there should be.
    """

    def __init__(self, connection: socket.socket, workers: int) -> None:
        self.workers = workers
        self._connection = connection
        self._writer: asyncio.StreamWriter | None = None
        self._collecting: list[asyncio.Future[messages.Collected]] = []
        self._ordered: dict[int, asyncio.Future[messages.CommandResult]] = {}
        self._number = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(
        self, app: ModelHost, announce: Callable[[], None], stop: Callable[[], None]
    ) -> None:
        """Follows the supervisor from now on; `stop` is called when it has gone."""
        reader, self._writer = await asyncio.open_unix_connection(
            sock=self._connection, limit=LONGEST_LINE
        )
        self._run(self._listen(reader, app, announce, stop))
        self._run(self._count(app))

    def ready(self, app: ModelHost) -> None:
        """This worker accepts connections."""
        live = {model.name: model.version for model in app.require_models()}
        self._send(messages.Ready(self.workers, live))

    async def collect(self, own: Snapshot) -> list[Snapshot]:
        """What the other workers counted; `own` will not be lost, as it is about to be shown.

        Raises `DeadlineExceeded` when the supervisor does not say: counts never go back.
        """
        future: asyncio.Future[messages.Collected] = asyncio.get_running_loop().create_future()
        self._collecting.append(future)
        self._send(messages.Collect(own))
        try:
            return (await asyncio.wait_for(future, COLLECT_S)).snapshots
        except TimeoutError:
            raise DeadlineExceeded(
                f"The other workers' counts did not come within {COLLECT_S:g} s.",
                hint="Ask again.",
                timeout_s=COLLECT_S,
            ) from None

    async def run_command(self, action: str, name: str) -> None:
        """Has all workers do what an admin orders.

        Raises:
            ModelpadError: one could not; of the class that it was there.
            DeadlineExceeded: they do not say that it is done.
        """
        number = self._number = self._number + 1
        future: asyncio.Future[messages.CommandResult] = asyncio.get_running_loop().create_future()
        self._ordered[number] = future
        self._send(messages.Command(number, action, name))
        try:
            done = await asyncio.wait_for(future, ORDER_S)
        except TimeoutError:
            raise DeadlineExceeded(
                f"Not all workers did it within {ORDER_S:g} s.", timeout_s=ORDER_S
            ) from None
        finally:
            del self._ordered[number]
        if done.kind:
            raise getattr(errors, done.kind, ModelpadError)(done.words)

    async def close(self, own: Snapshot) -> None:
        """Ends what runs beside; the last that is said is what this worker counted."""
        self._send(messages.Counted(own))
        for task in self._tasks:
            task.cancel()
        if self._writer is not None:
            self._writer.close()

    async def _listen(
        self,
        reader: asyncio.StreamReader,
        app: ModelHost,
        announce: Callable[[], None],
        stop: Callable[[], None],
    ) -> None:
        with contextlib.suppress(ConnectionError):  # it was killed before it read all that we said
            while line := await reader.readline():
                self._hear(messages.read_from_supervisor(line), app, announce)
        stop()

    def _hear(
        self, message: messages.FromSupervisor, app: ModelHost, announce: Callable[[], None]
    ) -> None:
        match message:
            case messages.Announce():
                announce()
            case messages.Ping():
                self._send(messages.Pong())
            case messages.Tell():
                self._send(messages.Counted(app.snapshot()))
            case messages.Collected():
                for future in self._collecting:
                    if not future.done():
                        future.set_result(message)
                self._collecting.clear()
            case messages.Command():
                self._run(self._execute(app, message))
            case messages.CommandResult():
                waiting = self._ordered.get(message.number)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
            case messages.Look():
                self._run(self._look(app))
            case messages.Prepare():
                self._run(self._prepare(app, message))
            case messages.Apply():
                if app.reconciler is not None:
                    plan = read_plan(message.plan)
                    app.reconciler.apply(message.name, plan, message.versions)

    async def _look(self, app: ModelHost) -> None:
        plans = await app.reconciler.plans() if app.reconciler is not None else {}
        raw = {name: msgspec.Raw(messages.encode(plan)) for name, plan in plans.items()}
        self._send(messages.Plans(raw))

    async def _prepare(self, app: ModelHost, asked: messages.Prepare) -> None:
        plan = read_plan(asked.plan)
        have: frozenset[int] = frozenset()
        if app.reconciler is not None:
            try:
                have = await app.reconciler.prepare(asked.name, plan)
            except Exception:
                log.exception("%s cannot be followed", asked.name)
        self._send(messages.Prepared(asked.change, sorted(have), plan.versions <= have))

    async def _execute(self, app: ModelHost, order: messages.Command) -> None:
        done = messages.CommandResult(order.number)
        try:
            if app.reconciler is not None:
                await app.reconciler.override(order.action, order.name)
        except ModelpadError as error:
            done = messages.CommandResult(order.number, type(error).__name__, error.words)
        except Exception as error:
            log.exception("%s: cannot %s it", order.name, order.action)
            done = messages.CommandResult(order.number, "ModelpadError", str(error))
        self._send(done)

    async def _count(self, app: ModelHost) -> None:
        told = b""
        while True:
            await asyncio.sleep(COUNT_S)
            line = messages.write_line(messages.Counted(app.snapshot()))
            if line != told and self._writer is not None:
                self._writer.write(line)
                told = line
            stuck = app.stalled_models()
            if stuck:
                self._send(messages.Stuck(stuck))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _send(self, message: messages.FromWorker) -> None:
        if self._writer is not None:
            with contextlib.suppress(OSError, RuntimeError):
                self._writer.write(messages.write_line(message))


def read_plan(raw: msgspec.Raw) -> DesiredState:
    """A store's plan, as another worker wrote it."""
    from modelpad.store import DesiredState

    return msgspec.json.decode(raw, type=DesiredState)
