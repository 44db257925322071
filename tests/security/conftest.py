"""What attacks share: the memory of a server's processes, and a good client beside them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

MEGABYTE = 1 << 20


class Watch:
    """Samples the memory of a server and of its workers: the largest process, in bytes."""

    def __init__(self, pid: int) -> None:
        import psutil  # the environments of single frameworks do without it

        self._server = psutil.Process(pid)
        self._gone = psutil.NoSuchProcess
        self.peak = self.base = self.now()

    def now(self) -> int:
        """The resident memory of the largest process."""
        sizes = [0]
        for process in (self._server, *self._server.children(recursive=True)):
            try:
                sizes.append(process.memory_info().rss)
            except self._gone:
                continue
        return max(sizes)

    @property
    def grown_mb(self) -> float:
        """How much the peak lies above the begin, in megabytes."""
        return (self.peak - self.base) / MEGABYTE


@pytest.fixture(scope="session")
def watch_memory() -> Callable[[int], Any]:
    """A context that samples the memory of a process and its children: `with watch(pid) as w`."""

    @contextmanager
    def watch(pid: int) -> Iterator[Watch]:
        watched, over = Watch(pid), threading.Event()

        def sample() -> None:
            while not over.wait(0.02):
                watched.peak = max(watched.peak, watched.now())

        thread = threading.Thread(target=sample)
        thread.start()
        try:
            yield watched
        finally:
            over.set()
            thread.join()

    return watch


@pytest.fixture(scope="session")
def send_raw() -> Callable[..., bytes]:
    """Sends bytes to `HOST:PORT` and reads until the server closes, or for some seconds."""

    def send(address: str, *parts: bytes, seconds: float = 20) -> bytes:
        host, _, port = address.rpartition(":")
        answer = b""
        with socket.create_connection((host, int(port)), timeout=seconds) as client:
            end = time.monotonic() + seconds
            try:
                for part in parts:
                    client.sendall(part)
                while time.monotonic() < end:
                    came = client.recv(65536)
                    if not came:
                        break
                    answer += came
            except (ConnectionError, TimeoutError):
                pass  # the server has closed: what it said before is what counts
        return answer

    return send
