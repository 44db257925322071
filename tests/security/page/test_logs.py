"""Clients that leave, in every way a client can, do not fill the log."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

TIMES = 200
BODY = b'{"row": [0, 5, 0]}'
HEAD = b"POST /predict/pick HTTP/1.1\r\nhost: localhost\r\n"
WHOLE = HEAD + b"content-type: application/json\r\ncontent-length: 18\r\n\r\n" + BODY
RESET = struct.pack("ii", 1, 0)


class Logged:
    """A server whose standard error goes to a file."""

    def __init__(self, process: subprocess.Popen[str], url: str, file: Path) -> None:
        self.process, self.url, self.file = process, url, file
        self.place = ("127.0.0.1", int(url.rpartition(":")[2]))

    def read(self) -> list[str]:
        return self.file.read_text().splitlines()


@pytest.fixture
def logged(bundles: Path, tmp_path: Path) -> Iterator[Any]:
    running: list[Logged] = []

    def start(*options: str) -> Logged:
        file = tmp_path / f"log{len(running)}"
        words = ["serve", str(bundles / "pick"), "--port", "0", "--no-open", "--workers", "1"]
        store = ["--store", str(tmp_path / "store")]
        with file.open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "modelpad", *words, *store, *options],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert process.stdout is not None
        for line in process.stdout:
            found = re.search(r"page\s+(https?://\S+)", line)
            if found:
                running.append(Logged(process, found[1], file))
                return running[-1]
        raise AssertionError(file.read_text())

    yield start
    for one in running:
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(timeout=20) == 0


def hang_up(client: socket.socket) -> None:
    """Resets the connection, as a client does that crashes."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.close()


def leave(place: tuple[str, int], sent: bytes, wait_bytes: int = 0) -> None:
    client = socket.create_connection(place, timeout=10)
    with contextlib.suppress(OSError):
        client.sendall(sent)
        if wait_bytes:
            client.recv(wait_bytes)
    hang_up(client)


@pytest.mark.parametrize(
    ("sent", "wait_bytes"),
    [
        (b"", 0),
        (b"POST /pre", 0),
        (HEAD + b"content-length: 900000\r\n\r\n{", 0),
        (WHOLE, 0),
        (WHOLE * 20, 1),
        (b"GET / HTTP/1.1\r\nhost: localhost\r\naccept: text/html\r\n\r\n" * 40, 1),
        (
            HEAD + b"content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n"
            b"13\r\n" + BODY + b"\n\r\n",
            1,
        ),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(60), 0),
    ],
    ids=["connect", "head", "body", "answer", "pipelined", "page", "stream", "tls to plain"],
)
def test_clients_that_leave_are_not_logged(logged: Any, sent: bytes, wait_bytes: int) -> None:
    server = logged()
    for _ in range(TIMES):
        leave(server.place, sent, wait_bytes)
    assert httpx.get(f"{server.url}/healthz").status_code == 200
    assert len(server.read()) <= 3, server.read()[:20]


def test_broken_handshakes_are_not_logged(logged: Any, certificate: tuple[Path, Path]) -> None:
    server = logged("--tls-cert", str(certificate[0]), "--tls-key", str(certificate[1]))
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    distrusting = ssl.create_default_context()
    careless = ssl.create_default_context()
    careless.check_hostname, careless.verify_mode = False, ssl.CERT_NONE
    for number in range(TIMES):
        leave(server.place, (b"", hello, WHOLE, hello + os.urandom(600))[number % 4])
        client = socket.create_connection(server.place, timeout=10)
        with contextlib.suppress(OSError):
            distrusting.wrap_socket(client, server_hostname="localhost")
        client.close()
        with contextlib.suppress(OSError):
            wrapped = careless.wrap_socket(socket.create_connection(server.place, timeout=10))
            wrapped.sendall(WHOLE * 10)
            if number % 2:
                wrapped.recv(1)
            hang_up(wrapped)
    answer = httpx.get(f"{server.url}/healthz", verify=False)
    assert answer.status_code == 200
    assert len(server.read()) <= 3, server.read()[:20]
