"""Buckets for tests: in memory, and on a server that speaks S3's protocol."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from modelpad.locations import RemoteLocation
from modelpad.store.objects import Objects
from modelpad.store.remote import RemoteStore


def open_memory(cache: Path, objects: Objects | None = None) -> RemoteStore:
    """A store in objects that are in this process's memory; new ones if none are given."""
    return RemoteStore(objects or make_objects(), RemoteLocation("memory://bucket", cache))


def make_objects() -> Objects:
    """Objects in memory, with the conditions that buckets have."""
    stores = pytest.importorskip("obstore.store")
    return Objects(stores.MemoryStore(), "memory://bucket")


class Proxy:
    """Passes connections on to an address; cuts them after `left` bytes of responses."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.left: int | None = None
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Refuses connections from now on."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                for ends in ((client, server, False), (server, client, True)):
                    threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with suppress(OSError), closing(source), closing(target):
            while data := source.recv(65536):
                if counted and self.left is not None:
                    data, self.left = data[: self.left], max(0, self.left - len(data))
                target.sendall(data)
                if counted and self.left == 0:
                    target.shutdown(socket.SHUT_RDWR)
                    source.shutdown(socket.SHUT_RDWR)
                    return
            target.shutdown(socket.SHUT_WR)


@contextmanager
def run_s3() -> Iterator[tuple[str, int]]:
    """A server with S3's protocol, and one bucket called `bucket`; gives its address."""
    pytest.importorskip("obstore")
    moto = pytest.importorskip("moto.server")
    import httpx

    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        httpx.put(f"http://{host}:{port}/bucket", timeout=60).raise_for_status()
        yield host, port
    finally:
        server.stop()


def s3_variables(port: int) -> dict[str, str]:
    """The environment of a client."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
