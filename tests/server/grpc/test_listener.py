"""The gRPC listener in the test's event loop."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

grpc = pytest.importorskip("grpc")

from modelpad.server import ModelTable, build_app  # noqa: E402
from modelpad.server.grpc import listener  # noqa: E402
from modelpad.server.http.sockets import Address  # noqa: E402

LIVE = "/inference.GRPCInferenceService/ServerLive"


def test_an_ipv6_address_is_listened_on() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")

    async def run() -> None:
        calls = listener.GrpcServer(build_app(ModelTable([])).backend)
        port = await calls.listen(Address("::1", 0))
        async with grpc.aio.insecure_channel(f"[::1]:{port}") as channel:
            assert await channel.unary_unary(LIVE)(b"", timeout=10)
        await calls.stop(1.0)

    asyncio.run(run())


def test_old_connections_are_replaced_and_no_call_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "MAX_AGE_S", 0.1)
    peers: set[str] = set()

    async def run() -> None:
        calls = listener.GrpcServer(build_app(ModelTable([])).backend)
        begin = calls.connections.begin

        def note(peer: str) -> None:
            peers.add(peer)
            begin(peer)

        monkeypatch.setattr(calls.connections, "begin", note)
        port = await calls.listen(Address(port=0))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            end = time.monotonic() + 0.6
            while time.monotonic() < end:
                assert await channel.unary_unary(LIVE)(b"")
        await calls.stop(1.0)

    asyncio.run(run())
    assert len(peers) > 1
