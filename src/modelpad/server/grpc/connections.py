"""The TCP connections under gRPC, which grpcio neither counts nor closes for us.

grpcio takes the headers of a call into memory long past its own limit, and a call that waits for
its client to read cannot be cancelled. So the sockets are watched from outside, where Linux
allows it: how much each has received since its last call, and a way to close one.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

from modelpad.server.allocator import trim_soon

log = logging.getLogger("modelpad.server")

SCAN_S = 0.1
# After a flood, scans are more frequent for a while: what is received between two scans is what
# grpcio passes to Python, which blocks the event loop meanwhile.
ALERT_SCAN_S, ALERT_S = 0.01, 10.0
# Without a call a connection may send this much: settings, the headers of calls that begin, and
# what HTTP/2's window lets it send ahead.
MAX_BYTES_WITHOUT_CALL = 128 * 1024
# What is still on its way when a call ends early.
SLACK_BYTES = 2 * 1024 * 1024
# Refused calls of one connection: at once, and in the long run.
MAX_REFUSED, MAX_REFUSED_PER_S = 100, 250.0
TELL_S = 10.0

SOCKETS = "/proc/self/fd"
TCP_INFO_BYTES = 136
BYTES_RECEIVED = 128  # where struct tcp_info has tcpi_bytes_received


_Address = tuple[str, int]


@dataclass(slots=True)
class _Connection:
    address: _Address
    received: int = 0
    allowed: int = MAX_BYTES_WITHOUT_CALL
    refused: float = 0.0  # calls, less what time forgives


class Connections:
    """The connections of one port, and the calls on them as reported by `begin` and `end`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # for the three below, by address
        self._calls: Counter[_Address] = Counter()
        self._ended: set[_Address] = set()
        self._refused: Counter[_Address] = Counter()
        self._known: dict[str, _Connection | None] = {}  # by inode; None: another's socket
        self._thread: threading.Thread | None = None
        self._over = threading.Event()
        self._port = 0
        self._closed = 0
        self._told = -TELL_S
        self._scanned = time.monotonic()
        self._alert_until = 0.0

    def watch(self, port: int) -> None:
        """Starts to watch the connections of that port; does nothing where that is impossible."""
        self._port = port
        if Path(SOCKETS).is_dir() and hasattr(socket, "TCP_INFO"):
            # Not on the event loop, which a flood keeps busy.
            self._thread = threading.Thread(target=self._watch, name="modelpad-grpc", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stops watching."""
        self._over.set()

    def begin(self, peer: str) -> None:
        """A call of that peer is admitted."""
        with self._lock:
            self._calls[find_peer(peer)] += 1

    def end(self, peer: str) -> None:
        """A call of that peer has ended."""
        address = find_peer(peer)
        with self._lock:
            self._calls[address] -= 1
            if not self._calls[address]:
                del self._calls[address]
            if self._thread is not None:
                self._ended.add(address)

    def refuse(self, peer: str) -> None:
        """A call of that peer was not admitted."""
        if self._thread is not None:
            with self._lock:
                self._refused[find_peer(peer)] += 1

    def close(self, peer: str) -> None:
        """Closes that peer's connection, with all of its calls."""
        address = find_peer(peer)
        for connection, opened in self._list_open():
            if connection.address == address:
                disconnect(opened)

    def _watch(self) -> None:
        while not self._over.wait(ALERT_SCAN_S if self._is_alert() else SCAN_S):
            try:
                self._scan()
            except OSError as error:
                log.debug("cannot watch gRPC connections: %s", error)

    def _is_alert(self) -> bool:
        return time.monotonic() < self._alert_until

    def _scan(self) -> None:
        with self._lock:
            ended, self._ended = self._ended, set()
            refused, self._refused = self._refused, Counter()
        closed, now = 0, time.monotonic()
        forgiven, self._scanned = MAX_REFUSED_PER_S * (now - self._scanned), now
        for connection, opened in self._list_open():
            address, received = connection.address, connection.received
            # Read after the bytes were counted: a call may have begun since then.
            with self._lock:
                is_busy = address in self._calls
                has_ended = address in ended or address in self._ended
                is_refused = address in refused or address in self._refused
            if is_busy:
                connection.allowed = received + MAX_BYTES_WITHOUT_CALL
            elif has_ended:
                connection.allowed = received + SLACK_BYTES
            elif is_refused:
                connection.allowed = max(connection.allowed, received + MAX_BYTES_WITHOUT_CALL)
            connection.refused = max(0, connection.refused - forgiven) + refused[address]
            if received > connection.allowed or connection.refused > MAX_REFUSED:
                closed += 1
                # Not `disconnect`: a client that must wait until grpcio has read what it sent comes
                # back less often, and each time costs more than the bytes.
                with contextlib.suppress(OSError):
                    opened.shutdown(socket.SHUT_RDWR)
        if closed:
            self._tell(closed)
        if self._is_alert():
            trim_soon()  # what grpcio held becomes free bit by bit

    def _tell(self, closed: int) -> None:
        self._closed += closed
        now = time.monotonic()
        self._alert_until = now + ALERT_S
        if now - self._told > TELL_S:
            log.warning("closed gRPC connections that sent floods without a call: %d", self._closed)
            self._closed, self._told = 0, now

    def _list_open(self) -> Iterator[tuple[_Connection, socket.socket]]:
        """Each connection that is open, with a socket that is closed after its turn.

        The sockets are duplicates: grpcio may close its own meanwhile, and the number be reused.
        """
        found: dict[str, _Connection | None] = {}
        for name in os.listdir(SOCKETS):  # noqa: PTH208 -- ten times a second
            try:
                inode = os.readlink(f"{SOCKETS}/{name}")  # noqa: PTH115
                if not inode.startswith("socket:") or self._known.get(inode, ...) is None:
                    found[inode] = None
                    continue
                with socket.socket(fileno=os.dup(int(name))) as opened:
                    connection = self._known.get(inode) or self._identify(opened)
                    found[inode] = connection
                    if connection is not None:
                        connection.received = count_received(opened)
                        yield connection, opened
            except OSError:
                continue  # closed meanwhile, or not a connected socket
        self._known = found

    def _identify(self, opened: socket.socket) -> _Connection | None:
        if opened.family not in (socket.AF_INET, socket.AF_INET6):
            return None
        if opened.type != socket.SOCK_STREAM or opened.getsockname()[1] != self._port:
            return None
        if opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return None
        host, port = opened.getpeername()[:2]
        return _Connection(normalize(host, port))


def count_received(opened: socket.socket) -> int:
    """Bytes received on a TCP connection since it was made."""
    info = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
    if len(info) < TCP_INFO_BYTES:  # Linux before 4.1
        return 0
    (received,) = struct.unpack_from("=Q", info, BYTES_RECEIVED)
    return int(received)


def disconnect(opened: socket.socket) -> None:
    """Breaks a TCP connection; what has arrived and was not read is dropped, too.

    `shutdown` would leave megabytes to read. `connect` to no address (AF_UNSPEC) leaves nothing.
    """
    nowhere = bytes(16)
    if ctypes.CDLL(None).connect(opened.fileno(), nowhere, len(nowhere)):
        with contextlib.suppress(OSError):
            opened.shutdown(socket.SHUT_RDWR)


@lru_cache(maxsize=4096)
def find_peer(peer: str) -> tuple[str, int]:
    """Host and port of `ipv4:127.0.0.1:54321` or `ipv6:%5B::1%5D:54321`, as gRPC names peers.

    ("", 0) for any other.
    """
    kind, _, rest = peer.partition(":")
    host, _, port = unquote(rest).rpartition(":")
    if kind not in ("ipv4", "ipv6") or not port.isdecimal():
        return "", 0
    return normalize(host.strip("[]"), int(port))


def normalize(host: str, port: int) -> tuple[str, int]:
    """An address without what may differ: a zone, and IPv4 written as IPv6."""
    return host.partition("%")[0].removeprefix("::ffff:"), port
