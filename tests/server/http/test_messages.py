"""Requests, and the app on an ASGI server."""

from __future__ import annotations

import asyncio
import threading

import httpx
import pytest

from modelpad.server.budget import ByteBudget, Reservation
from modelpad.server.http.messages import Request, ServerLimits


def test_a_copy_of_a_request_keeps_its_match_and_its_body() -> None:
    async def read() -> tuple[bytes, bool]:
        return b"body", False

    async def copy() -> tuple[object, bytes, bytes]:
        held = Reservation(ByteBudget(1000))
        request = Request("POST", "/", b"", {}, read, ServerLimits(), held)
        assert request.match is None
        request.match = "route"
        kept = await request.keep_body()
        return kept.match, await kept.body(), await kept.body()

    assert asyncio.run(copy()) == ("route", b"body", b"body")


def test_the_app_runs_on_any_asgi_server() -> None:
    """Here uvicorn."""
    uvicorn = pytest.importorskip("uvicorn")
    from modelpad.server import App, ModelTable

    config = uvicorn.Config(App(ModelTable([])), port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        pass
    port = server.servers[0].sockets[0].getsockname()[1]
    assert httpx.get(f"http://127.0.0.1:{port}/healthz").json() == {"status": "alive"}
    assert httpx.get(f"http://127.0.0.1:{port}/nothing").status_code == 404
    server.should_exit = True
    thread.join(10)
