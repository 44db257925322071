"""A client that speaks HTTP/2 as badly as it likes: frames by hand."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator

import pytest

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    0, 1, 3, 4, 6, 7, 8, 9,
)  # fmt: skip
END_STREAM, END_HEADERS, ACK = 1, 4, 1
FRAME_BYTES = 16_384


class Http2:
    """One connection; `streams` begin with `open`."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=10)
        self.window = {0: 65_535}
        self.initial = 65_535
        self.closed, self.sent = False, 0  # bytes
        self.ended: dict[int, int] = {}  # streams that the server reset, and why
        self._stream = -1
        self._buffer = b""
        self.send(PREFACE, frame(SETTINGS, 0, 0))

    def send(self, *parts: bytes) -> bool:
        """Whether all could be sent."""
        data = b"".join(parts)
        self.sent += len(data)
        try:
            self.socket.settimeout(10)
            self.socket.sendall(data)
        except OSError:
            self.closed = True
        return not self.closed

    def open(self, path: str, *headers: tuple[str, str], flags: int = END_HEADERS) -> int:
        """Begins a call, without a message."""
        self._stream += 2
        self.window[self._stream] = self.initial
        block = write_headers((":method", "POST"), (":scheme", "http"), (":path", path))
        block += write_headers((":authority", "here"), ("te", "trailers"))
        block += write_headers(("content-type", "application/grpc"), *headers)
        self.send(frame(HEADERS, flags, self._stream, block))
        return self._stream

    def begin_message(self, stream: int, size: int, sent: int) -> int:
        """Sends so much of a message of zeros, as the windows allow; how much it was."""
        data, done = b"\0" + struct.pack(">I", size), 0
        while done < sent and not self.closed and stream not in self.ended:
            room = min(self.window[0], self.window[stream], FRAME_BYTES, sent - done)
            if room <= 0:
                if not self.read(1.0):
                    break
                continue
            part, data = (data + bytes(room))[:room], b""
            self.send(frame(DATA, 0, stream, part))
            self.window[0] -= room
            self.window[stream] -= room
            done += room
            if done % (64 * FRAME_BYTES) < FRAME_BYTES:
                self.read(0.001)
        return done

    def read(self, seconds: float) -> bool:
        """Heeds what the server says; whether it said anything in time."""
        self.socket.settimeout(seconds)
        try:
            data = self.socket.recv(1 << 16)
        except TimeoutError:
            return False
        except OSError:
            data = b""
        self.closed = self.closed or not data
        self._buffer += data
        while len(self._buffer) >= 9:
            end = 9 + int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < end:
                break
            head, body = self._buffer[:9], self._buffer[9:end]
            self._buffer = self._buffer[end:]
            self._heed(head[3], head[4], int.from_bytes(head[5:9], "big"), body)
        return bool(data)

    def _heed(self, kind: int, flags: int, stream: int, body: bytes) -> None:
        if kind == WINDOW_UPDATE:
            self.window[stream] = self.window.get(stream, 0) + int.from_bytes(body, "big")
        elif kind == RST_STREAM:
            self.ended[stream] = int.from_bytes(body, "big")
        elif kind == PING and not flags & ACK:
            self.send(frame(PING, ACK, 0, body))
        elif kind == SETTINGS and not flags & ACK:
            for setting, value in struct.iter_unpack(">HI", body):
                if setting == 4:
                    for each in self.window.keys() - {0}:
                        self.window[each] += value - self.initial
                    self.initial = value
            self.send(frame(SETTINGS, ACK, 0))


def frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body))[1:] + struct.pack(">BBI", kind, flags, stream) + body


def write_headers(*headers: tuple[str, str]) -> bytes:
    """As literals that no table remembers."""
    return b"".join(b"\0" + write_text(name) + write_text(value) for name, value in headers)


def write_text(text: str) -> bytes:
    data, rest = text.encode(), len(text) - 127
    if rest < 0:
        return bytes([len(data)]) + data
    head = bytearray([127])
    while rest >= 128:
        head.append(rest % 128 + 128)
        rest //= 128
    return bytes([*head, rest]) + data


@pytest.fixture
def open_http2() -> Iterator[Callable[[str], Http2]]:
    """Connects to an address; all connections are closed at the end."""
    opened: list[Http2] = []

    def connect(address: str) -> Http2:
        opened.append(Http2(address))
        return opened[-1]

    yield connect
    for each in opened:
        with contextlib.suppress(OSError):
            each.socket.close()


@pytest.fixture(scope="session")
def write_frame() -> Callable[..., bytes]:
    """One HTTP/2 frame of kind, flags, stream and body."""
    return frame


@pytest.fixture(scope="session")
def write_header() -> Callable[..., bytes]:
    """Headers as (name, value) pairs."""
    return write_headers
