"""The app on an ASGI server."""

from __future__ import annotations

import threading

import httpx
import pytest


def test_the_app_runs_on_any_asgi_server() -> None:
    """Here uvicorn."""
    uvicorn = pytest.importorskip("uvicorn")
    from modelpad.server import ModelTable, build_app

    config = uvicorn.Config(build_app(ModelTable([])), port=0, log_level="error")
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
