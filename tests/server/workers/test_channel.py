"""A worker's end of its socket, with a supervisor that the test plays."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec
import pytest

from modelpad.errors import DeadlineExceeded, ModelNotFound
from modelpad.server.observability.metrics import REQUESTS, Snapshot
from modelpad.server.workers import channel as channel_module
from modelpad.server.workers import messages
from modelpad.server.workers.channel import SupervisorChannel
from modelpad.store import DesiredState

OWN = Snapshot(counters={REQUESTS: [((), 5)]})


@dataclass
class Loader:
    """A reconciler that loads every version but 13, and knows one model."""

    applied: list[tuple[str, int, list[int]]] = field(default_factory=list)

    async def plans(self) -> Mapping[str, DesiredState]:
        return {"digits": DesiredState(2, frozenset({1, 2}))}

    async def prepare(self, name: str, plan: DesiredState) -> frozenset[int]:
        if name == "broken":
            raise RuntimeError("a bug")
        return plan.versions - {13}

    def apply(self, name: str, plan: DesiredState, versions: Collection[int]) -> None:
        self.applied.append((name, plan.default_version, sorted(versions)))

    async def override(self, action: str, name: str) -> None:
        if name != "digits":
            raise ModelNotFound(f"There is no model {name!r}.", hint="Try digits.")


@dataclass
class Host:
    reconciler: Loader = field(default_factory=Loader)
    stalled: str = ""

    def snapshot(self) -> Snapshot:
        return OWN

    def stalled_models(self) -> str:
        return self.stalled


class FakeSupervisor:
    """The other end: sends messages, and reads those that the worker sends."""

    def __init__(self, channel: SupervisorChannel, host: Host) -> None:
        self.channel, self.host = channel, host
        self.announced = asyncio.Event()
        self.stopped = asyncio.Event()
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    def send(self, message: messages.FromSupervisor) -> None:
        self.writer.write(messages.write_line(message))

    async def receive(self) -> messages.FromWorker:
        line = await asyncio.wait_for(self.reader.readline(), 5)
        message: messages.FromWorker = messages.read_from_worker(line)
        return message


@asynccontextmanager
async def connect() -> AsyncIterator[FakeSupervisor]:
    ours, theirs = socket.socketpair()
    supervisor = FakeSupervisor(SupervisorChannel(theirs, workers=2), Host())
    supervisor.reader, supervisor.writer = await asyncio.open_unix_connection(sock=ours)
    await supervisor.channel.open(supervisor.host, supervisor.announced.set, supervisor.stopped.set)
    yield supervisor
    await supervisor.channel.close(OWN)
    supervisor.writer.close()


def encode(state: DesiredState) -> msgspec.Raw:
    return msgspec.Raw(messages.encode(state))


def test_a_worker_says_when_it_is_ready_and_that_it_is_alive() -> None:
    async def talk() -> None:
        async with connect() as supervisor:
            supervisor.channel.report_ready({"digits": 2})
            assert await supervisor.receive() == messages.Ready(2, {"digits": 2})
            supervisor.send(messages.Ping())
            assert await supervisor.receive() == messages.Pong()
            supervisor.send(messages.AnnounceReady())
            await asyncio.wait_for(supervisor.announced.wait(), 5)

    asyncio.run(talk())


def test_a_worker_stops_when_its_supervisor_has_gone() -> None:
    async def talk() -> None:
        async with connect() as supervisor:
            supervisor.writer.close()
            await asyncio.wait_for(supervisor.stopped.wait(), 5)

    asyncio.run(talk())


def test_metrics_are_sent_on_request_and_in_the_end() -> None:
    async def talk() -> None:
        async with connect() as supervisor:
            supervisor.send(messages.RequestSnapshot())
            assert await supervisor.receive() == messages.MetricsSnapshot(OWN)
            await supervisor.channel.close(OWN)
            assert await supervisor.receive() == messages.MetricsSnapshot(OWN)

    asyncio.run(talk())


def test_metrics_and_stalled_models_are_reported_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(channel_module, "SNAPSHOT_INTERVAL_S", 0.0)

    async def talk() -> None:
        async with connect() as supervisor:
            assert await supervisor.receive() == messages.MetricsSnapshot(OWN)
            supervisor.host.stalled = "digits version 1"
            assert await supervisor.receive() == messages.Stalled("digits version 1")

    asyncio.run(talk())


def test_two_requests_for_all_metrics_get_one_reply() -> None:
    other = Snapshot(counters={REQUESTS: [((), 7)]})

    async def talk() -> None:
        async with connect() as supervisor:
            waiting = [asyncio.create_task(supervisor.channel.collect(OWN)) for _ in range(2)]
            for _ in waiting:
                assert await supervisor.receive() == messages.CollectMetrics(OWN)
            supervisor.send(messages.CollectedMetrics([other]))
            assert await asyncio.gather(*waiting) == [[other], [other]]

    asyncio.run(talk())


def test_without_a_reply_there_are_no_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "COLLECT_TIMEOUT_S", 0.0)

    async def talk() -> None:
        async with connect() as supervisor:
            with pytest.raises(DeadlineExceeded, match="other workers"):
                await supervisor.channel.collect(OWN)

    asyncio.run(talk())


def test_an_admins_command_ends_as_it_ended_in_all_workers() -> None:
    async def talk() -> None:
        async with connect() as supervisor:
            waiting = asyncio.create_task(supervisor.channel.run_command("load", "cats"))
            assert await supervisor.receive() == messages.Command(1, "load", "cats")
            supervisor.send(messages.CommandResult(1, "ModelNotFound", "There is no model 'cats'."))
            with pytest.raises(ModelNotFound, match="There is no model 'cats'"):
                await waiting
            waiting = asyncio.create_task(supervisor.channel.run_command("load", "digits"))
            assert await supervisor.receive() == messages.Command(2, "load", "digits")
            supervisor.send(messages.CommandResult(2))
            await waiting

    asyncio.run(talk())


def test_a_command_that_no_one_finishes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "COMMAND_TIMEOUT_S", 0.0)

    async def talk() -> None:
        async with connect() as supervisor:
            with pytest.raises(DeadlineExceeded, match="Not all workers"):
                await supervisor.channel.run_command("load", "digits")

    asyncio.run(talk())


def test_commands_of_the_supervisor_are_executed() -> None:
    async def talk() -> None:
        async with connect() as supervisor:
            supervisor.send(messages.Command(3, "unload", "digits"))
            assert await supervisor.receive() == messages.CommandResult(3)
            supervisor.send(messages.Command(4, "unload", "cats"))
            assert await supervisor.receive() == messages.CommandResult(
                4, "ModelNotFound", "There is no model 'cats'. Try digits."
            )

    asyncio.run(talk())


def test_versions_are_loaded_and_then_served() -> None:
    async def talk() -> None:
        async with connect() as supervisor:
            supervisor.send(messages.RequestDesiredStates())
            desired = await supervisor.receive()
            assert isinstance(desired, messages.DesiredStates)
            state = desired.states["digits"]
            assert messages.read_default_version(bytes(state)) == 2
            supervisor.send(messages.PrepareVersions(1, "digits", state))
            assert await supervisor.receive() == messages.VersionsPrepared(1, [1, 2], complete=True)
            supervisor.send(messages.ServeVersions("digits", state, [1, 2]))
            supervisor.send(messages.Ping())
            assert await supervisor.receive() == messages.Pong()
            assert supervisor.host.reconciler.applied == [("digits", 2, [1, 2])]

    asyncio.run(talk())


@pytest.mark.parametrize(("name", "loaded"), [("digits", [2]), ("broken", [])])
def test_versions_that_fail_to_load_are_reported_as_missing(name: str, loaded: list[int]) -> None:
    async def talk() -> None:
        async with connect() as supervisor:
            state = encode(DesiredState(2, frozenset({2, 13})))
            supervisor.send(messages.PrepareVersions(1, name, state))
            assert await supervisor.receive() == messages.VersionsPrepared(1, loaded, False)

    asyncio.run(talk())
