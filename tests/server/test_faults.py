"""Real processes under load and in trouble: what is lost is nothing that was answered."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from modelpad.bundle import Bundle
from modelpad.client.load import run_load, write_request
from modelpad.engine import QueueLimits
from modelpad.server import LoadOptions, ModelTable, ServedModel, build_app
from modelpad.server.http.server import HttpServer


def make_request(digits: Bundle) -> bytes:
    picture = digits.path("samples/7.png").read_bytes()
    return write_request("localhost", "/predict/digits", picture, "image/png")


def load(url: str, request: bytes, connections: int, seconds: float) -> Any:
    host, _, port = url.removeprefix("http://").partition(":")
    return asyncio.run(run_load(host, int(port), request, connections=connections, seconds=seconds))


def test_overload_is_refused_and_the_admitted_are_answered(
    serve: Any, digits: Bundle, tmp_path: Path
) -> None:
    running = serve("digits", "--max-queue", "4", "--timeout", "5", store=tmp_path / "store")
    done = load(running.url, make_request(digits), 64, 3)
    assert done.broken == 0
    assert set(done.statuses) == {200, 429}
    assert done.statuses[200] > 20
    refused = httpx.get(f"{running.url}/metrics").text
    assert 'status="429"' in refused


def test_two_hundred_slow_clients_hold_up_nobody(
    serve: Any, digits: Bundle, tmp_path: Path
) -> None:
    running = serve("digits", store=tmp_path / "store")
    host, _, port = running.url.removeprefix("http://").partition(":")
    slow = [socket.create_connection((host, int(port))) for _ in range(200)]
    for connection in slow:
        head = b"POST /predict/digits HTTP/1.1\r\nhost: localhost\r\ncontent-length: 999\r\n"
        connection.sendall(head)
    done = load(running.url, make_request(digits), 8, 1.5)
    assert set(done.statuses) == {200}
    assert done.statuses[200] > 20
    for connection in slow:
        connection.close()


def test_a_stop_under_load_cuts_off_no_answer(serve: Any, digits: Bundle, tmp_path: Path) -> None:
    """SIGTERM in the middle: every connection ends between answers, none inside of one."""
    running = serve("digits", store=tmp_path / "store")
    threading.Timer(1.0, lambda: os.kill(running.process.pid, signal.SIGTERM)).start()
    done = load(running.url, make_request(digits), 16, 2.5)
    assert running.process.wait(10) == 0
    assert set(done.statuses) == {200}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.slow
def test_output_that_cannot_be_written_stops_no_server(
    digits: Bundle, tmp_path: Path, free_port: int, wait_for: Any, workers: str
) -> None:
    """Neither where it is, nor what was asked, is worth an answer."""
    options = ("--workers", workers, "--log-requests", "--port", str(free_port), "--no-open")
    command = [sys.executable, "-m", "modelpad", "serve", "digits", *options]
    url = f"http://127.0.0.1:{free_port}"
    with Path("/dev/full").open("w") as full:
        process = subprocess.Popen(
            [*command, "--store", str(tmp_path / "store")], stdout=full, stderr=full
        )

    def is_ready() -> bool:
        assert process.poll() is None
        try:
            text = httpx.get(f"{url}/metrics").text
        except httpx.TransportError:
            return False
        return f"modelpad_workers {workers}" in text

    try:
        wait_for(is_ready)
        time.sleep(0.5)  # it tells where it is, to nobody, and may not end of it
        picture = digits.path("samples/7.png").read_bytes()
        sent = {"content-type": "image/png"}
        for _ in range(6):
            answer = httpx.post(f"{url}/predict/digits", content=picture, headers=sent)
            assert answer.json()["label"] == "7"
        assert is_ready()  # each worker still hears its supervisor
    finally:
        process.terminate()
        process.wait(15)


@pytest.mark.slow
def test_a_killed_server_comes_back_with_its_versions(
    serve: Any, digits: Bundle, tmp_path: Path
) -> None:
    from modelpad.store import LocalStore

    store = LocalStore(tmp_path / "store")
    for _ in range(3):
        store.push(digits)
    store.promote("digits", 2)
    first = serve("digits", store=store.root)
    first.process.kill()
    first.process.wait()
    first.process.returncode = 0  # it was meant to die
    again = serve("digits", store=store.root)
    assert httpx.get(f"{again.url}/readyz").json()["models"] == {"digits": 2}
    assert store.verify() == []


@pytest.mark.slow
@pytest.mark.long
def test_memory_stays_flat(serve: Any, digits: Bundle, tmp_path: Path) -> None:
    """A short soak; `bench/` has no say in it, so only a leak of kilobytes a request is found."""
    running = serve("digits", store=tmp_path / "store")
    server = psutil.Process(running.process.pid)

    def weigh() -> int:
        return sum(each.memory_info().rss for each in (server, *server.children()))

    request = make_request(digits)
    load(running.url, request, 16, 7)  # until batches are measured, and all is touched once
    time.sleep(0.2)  # memory is given back a little after the last answer; nothing tells when
    before = weigh()
    done = load(running.url, request, 16, 8)
    time.sleep(0.2)
    grown = weigh() - before
    assert set(done.statuses) == {200}
    assert grown < 8_000_000 + 500 * done.statuses[200], f"{grown:,} bytes"


def test_a_clock_that_jumps_changes_no_deadline(
    digits: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours forth and back between any two looks at it: only monotonic time counts."""
    jumps = itertools.cycle([0.0, 7200.0, -7200.0, 86400.0])
    started = time.time()
    monkeypatch.setattr("time.time", lambda: started + next(jumps))
    options = LoadOptions(limits=QueueLimits(timeout_s=5))
    app = build_app(ModelTable([ServedModel.load("digits", 1, digits, options)]))
    picture = digits.path("samples/7.png").read_bytes()

    async def live() -> list[int]:
        listener = socket.create_server(("127.0.0.1", 0))
        server = HttpServer(app.respond, app.backend.limits, app.shed_load)
        await server.listen(listener)
        await app.host.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/predict/digits"
        async with httpx.AsyncClient() as client:
            sent = {"content-type": "image/png"}
            asked = [client.post(url, content=picture, headers=sent) for _ in range(40)]
            statuses = [answer.status_code for answer in await asyncio.gather(*asked)]
        assert await server.stop(2) == 0
        await app.host.stop()
        return statuses

    assert asyncio.run(live()) == [200] * 40
