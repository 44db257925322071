"""A worker's end of the socket to its supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from modelpad import errors
from modelpad.errors import DeadlineExceeded, ModelpadError
from modelpad.server.workers import messages

if TYPE_CHECKING:
    from modelpad.server.observability.metrics import Snapshot
    from modelpad.store import DesiredState

log = logging.getLogger("modelpad.server")

MAX_LINE_BYTES = 64 * 1024 * 1024
SNAPSHOT_INTERVAL_S = 1.0  # so that little is lost when this worker is killed
COLLECT_TIMEOUT_S = 2.0
COMMAND_TIMEOUT_S = 120.0


class VersionLoader(Protocol):
    """Loads and serves versions in this process: the reconciler."""

    async def plans(self) -> Mapping[str, DesiredState]:
        """The desired versions by model name, from the store."""

    async def prepare(self, name: str, plan: DesiredState, /) -> frozenset[int]:
        """Loads missing versions; returns the loaded ones."""

    def apply(self, name: str, plan: DesiredState, versions: Collection[int], /) -> None:
        """Serves these versions."""

    async def override(self, action: str, name: str, /) -> None:
        """Loads or unloads a model for an admin."""


class WorkerHost(Protocol):
    """The models and metrics of this worker."""

    @property
    def reconciler(self) -> VersionLoader | None:
        """None when models are fixed."""

    def snapshot(self) -> Snapshot:
        """The metrics of this process."""

    def stalled_models(self) -> str:
        """The models that hang, as text; "" for none."""


class SupervisorChannel:
    """Sends this worker's metrics to the supervisor, and carries out its commands.

    `workers` is the desired number of workers.
    """

    def __init__(self, connection: socket.socket, workers: int) -> None:
        self.workers = workers
        self._connection = connection
        self._writer: asyncio.StreamWriter | None = None
        self._collections: list[asyncio.Future[list[Snapshot]]] = []
        self._commands: dict[int, asyncio.Future[messages.CommandResult]] = {}
        self._last_number = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(
        self, host: WorkerHost, announce: Callable[[], None], stop: Callable[[], None]
    ) -> None:
        """Follows the supervisor from now on.

        `announce` is called when all workers are ready, if the supervisor has chosen this one to
        tell the user; `stop` when the supervisor is gone.
        """
        reader, self._writer = await asyncio.open_unix_connection(
            sock=self._connection, limit=MAX_LINE_BYTES
        )
        self._spawn(self._read_messages(reader, host, announce, stop))
        self._spawn(self._send_snapshots(host))

    def report_ready(self, versions: dict[str, int]) -> None:
        """This worker accepts connections, and serves these versions by name."""
        self._send(messages.Ready(self.workers, versions))

    async def collect(self, own: Snapshot) -> list[Snapshot]:
        """The metrics of all other workers.

        `own` are this worker's, about to be shown: the supervisor keeps them in case it dies.

        Raises `DeadlineExceeded` when the supervisor does not reply: without the other workers,
        counters would go down.
        """
        future: asyncio.Future[list[Snapshot]] = asyncio.get_running_loop().create_future()
        self._collections.append(future)
        self._send(messages.CollectMetrics(own))
        try:
            return await asyncio.wait_for(future, COLLECT_TIMEOUT_S)
        except TimeoutError:
            raise DeadlineExceeded(
                f"The other workers did not send their metrics within {COLLECT_TIMEOUT_S:g} s.",
                hint="Try again.",
                timeout_s=COLLECT_TIMEOUT_S,
            ) from None

    async def run_command(self, action: str, name: str) -> None:
        """Runs an admin's command in all workers.

        Raises:
            ModelpadError: it failed in one of them; the class is that of the error there.
            DeadlineExceeded: some worker has not finished in time.
        """
        number = self._last_number = self._last_number + 1
        future: asyncio.Future[messages.CommandResult] = asyncio.get_running_loop().create_future()
        self._commands[number] = future
        self._send(messages.Command(number, action, name))
        try:
            result = await asyncio.wait_for(future, COMMAND_TIMEOUT_S)
        except TimeoutError:
            raise DeadlineExceeded(
                f"Not all workers finished within {COMMAND_TIMEOUT_S:g} s.",
                timeout_s=COMMAND_TIMEOUT_S,
            ) from None
        finally:
            del self._commands[number]
        if result.error:
            raise getattr(errors, result.error, ModelpadError)(result.message)

    async def close(self, own: Snapshot) -> None:
        """Sends this worker's last metrics and closes the socket."""
        self._send(messages.MetricsSnapshot(own))
        for task in self._tasks:
            task.cancel()
        if self._writer is not None:
            self._writer.close()

    async def _read_messages(
        self,
        reader: asyncio.StreamReader,
        host: WorkerHost,
        announce: Callable[[], None],
        stop: Callable[[], None],
    ) -> None:
        with contextlib.suppress(ConnectionError):  # killed before it read all that was sent to it
            while line := await reader.readline():
                self._handle(messages.read_from_supervisor(line), host, announce)
        stop()

    def _handle(
        self, message: messages.FromSupervisor, host: WorkerHost, announce: Callable[[], None]
    ) -> None:
        match message:
            case messages.AnnounceReady():
                announce()
            case messages.Ping():
                self._send(messages.Pong())
            case messages.RequestSnapshot():
                self._send(messages.MetricsSnapshot(host.snapshot()))
            case messages.CollectedMetrics():
                for future in self._collections:
                    if not future.done():
                        future.set_result(message.snapshots)
                self._collections.clear()
            case messages.CommandResult():
                waiting = self._commands.get(message.number)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
            case _:
                if host.reconciler is not None:
                    self._change_versions(message, host.reconciler)

    def _change_versions(self, message: messages.FromSupervisor, loader: VersionLoader) -> None:
        match message:
            case messages.Command():
                self._spawn(self._execute(loader, message))
            case messages.RequestDesiredStates():
                self._spawn(self._send_desired_states(loader))
            case messages.PrepareVersions():
                self._spawn(self._prepare(loader, message))
            case messages.ServeVersions():
                loader.apply(message.name, decode_state(message.state), message.versions)

    async def _send_desired_states(self, loader: VersionLoader) -> None:
        states = await loader.plans()
        encoded = {name: msgspec.Raw(messages.encode(state)) for name, state in states.items()}
        self._send(messages.DesiredStates(encoded))

    async def _prepare(self, loader: VersionLoader, request: messages.PrepareVersions) -> None:
        state = decode_state(request.state)
        loaded: frozenset[int] = frozenset()
        try:
            loaded = await loader.prepare(request.name, state)
        except Exception:
            log.exception("%s: cannot load the versions in the store", request.name)
        complete = state.versions <= loaded
        self._send(messages.VersionsPrepared(request.rollout, sorted(loaded), complete))

    async def _execute(self, loader: VersionLoader, command: messages.Command) -> None:
        result = messages.CommandResult(command.number)
        try:
            await loader.override(command.action, command.name)
        except ModelpadError as error:
            result = messages.CommandResult(command.number, type(error).__name__, error.words)
        except Exception as error:
            log.exception("%s: %s failed", command.name, command.action)
            result = messages.CommandResult(command.number, "ModelpadError", str(error))
        self._send(result)

    async def _send_snapshots(self, host: WorkerHost) -> None:
        last = b""
        while True:
            await asyncio.sleep(SNAPSHOT_INTERVAL_S)
            line = messages.write_line(messages.MetricsSnapshot(host.snapshot()))
            if line != last and self._writer is not None:
                self._writer.write(line)
                last = line
            stalled = host.stalled_models()
            if stalled:
                self._send(messages.Stalled(stalled))

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _send(self, message: messages.FromWorker) -> None:
        if self._writer is not None:
            with contextlib.suppress(OSError, RuntimeError):
                self._writer.write(messages.write_line(message))


def decode_state(raw: msgspec.Raw) -> DesiredState:
    """A desired state as another worker encoded it."""
    from modelpad.store import DesiredState

    return msgspec.json.decode(raw, type=DesiredState)
