"""One gRPC call as the services see it: its metadata, and its messages read within limits.

Messages are read as bytes, after the call is admitted by its metadata, and their memory is reserved
in the worker's byte budget at each step: received, decompressed, parsed. Nothing that a peer sends
before it is admitted is read; HTTP/2's flow control keeps it with the peer.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, TypeVarTuple

from modelpad.errors import DeadlineExceeded, InvalidInput, ModelpadError, TooLarge
from modelpad.server.budget import Reservation
from modelpad.server.grpc.connections import Connections, find_peer
from modelpad.server.host import STICKY
from modelpad.server.protocols.message_size import estimate_bytes
from modelpad.server.protocols.protobuf import parse_message

if TYPE_CHECKING:
    from modelpad.server.backend import Backend

T = TypeVar("T")
Given = TypeVarTuple("Given")
Metadata = Sequence[tuple[str, str | bytes]]
# Ends a call while its message is being read.
Abort = Callable[[ModelpadError], Coroutine[None, None, None]]

# A message that has not arrived by then may grow up to its limit while it is being received.
SLOW_S = 0.1
STREAM_IDLE_S = 300.0
# Calls have a dozen headers; grpcio lets hundreds of thousands through when a connection breaks.
MAX_HEADERS = 128
# From this size on, work takes more than a millisecond and leaves the event loop.
LARGE_BYTES = 64 * 1024
# No message of ours begins with these bytes, so they mean that it is compressed: grpcio does not
# say so once its own decompression, which has no limit, is off.
GZIP, DEFLATE = b"\x1f\x8b\x08", b"\x78"
DEFLATE_RATIO = 1032


class Context(Protocol):
    """What grpcio knows of a call: the part of its `ServicerContext` that is used here."""

    def peer(self) -> str:
        """The address of the client."""

    def add_done_callback(self, callback: Callable[[object], None], /) -> None:
        """Calls `callback` when the call is over."""

    async def read(self) -> object:
        """The next message as bytes, or something else when there are no more."""

    async def abort(self, code: object, details: str) -> None:
        """Ends the call; raises grpcio's `AbortError`."""


class Call:
    """One call; `close` releases what it reserved."""

    __slots__ = (
        "_abort",
        "_connections",
        "_context",
        "_counted",
        "_timer",
        "_upload",
        "backend",
        "failure",
        "headers",
        "peer",
        "reserved",
    )

    def __init__(
        self,
        backend: Backend,
        context: Context,
        metadata: Metadata,
        connections: Connections,
        abort: Abort,
    ) -> None:
        self.backend = backend
        self.headers = read_headers(metadata[:MAX_HEADERS])
        self.peer = context.peer()
        self.reserved = Reservation(backend.budget)
        self.failure: ModelpadError | None = None  # why the call was ended while it was read
        self._upload = Reservation(backend.budget)
        self._context = context
        self._connections = connections
        self._counted = False
        self._abort = abort
        self._timer: asyncio.TimerHandle | None = None
        # A response is in memory until it is sent, which is after the handler's end.
        context.add_done_callback(self.close)

    @property
    def sticky_key(self) -> str | None:
        """Calls with the same key get the same version of a traffic split."""
        return self.headers.get(STICKY)

    @property
    def client(self) -> str:
        """The address of the peer, without its port; "" where it has none."""
        return find_peer(self.peer)[0]

    def admit(self, *, admin: bool = False, guarded: bool = True) -> None:
        """Raises as `AccessControl.admit`."""
        try:
            self.backend.access.admit(
                self.headers, admin=admin, guarded=guarded, client=self.client
            )
        except ModelpadError:
            self._connections.refuse(self.peer)
            raise
        self._connections.begin(self.peer)
        self._counted = True

    async def read(self, message: str, *, stream: bool = False) -> Any:
        """The next message, of that full name; None when there are no more.

        A message must arrive within `body_s`; one of a `stream` may take longer.

        Raises:
            InvalidInput: it is not such a message.
            TooLarge, Overloaded: it needs more memory than allowed, or than is free now.
        """
        data = await (self._receive_next() if stream else self._receive_only())
        if data is None:
            return None
        self.reserved.grow(len(data))
        if data.startswith((GZIP, DEFLATE)):
            size = read_size(data, self.backend.limits.body_bytes)
            self.reserved.grow(2 * size)  # in blocks, then as a whole
            data = await run_large(size, decompress, data, size)
        self.reserved.grow(await run_large(len(data), estimate_bytes, data, message))
        return await run_large(len(data), parse_message, message, data)

    def reserve(self, size: int) -> None:
        """Reserves `size` bytes until the call is over. Raises `TooLarge` and `Overloaded`."""
        self.reserved.grow(size)

    def expect_reader(self, size: int) -> None:
        """Closes the connection if the client does not read a response of that size in time."""
        if size < LARGE_BYTES:  # the windows of HTTP/2 and the socket hold as much
            return
        loop = asyncio.get_running_loop()
        limit_s = self.backend.limits.body_s
        self._timer = loop.call_later(limit_s, self._connections.close, self.peer)

    def release(self) -> None:
        """Releases what was reserved for the messages so far."""
        if self._timer is not None:
            self._timer.cancel()
        self.reserved.clear()

    def close(self, _: object = None) -> None:
        """The call is over, and its response sent; called with the context."""
        self.release()
        if self._counted:
            self._connections.end(self.peer)

    async def _receive_only(self) -> bytes | None:
        self._timer = asyncio.get_running_loop().call_later(SLOW_S, self._slow)
        return await self._receive()

    async def _receive_next(self) -> bytes | None:
        self._timer = asyncio.get_running_loop().call_later(STREAM_IDLE_S, self._expire)
        return await self._receive()

    async def _receive(self) -> bytes | None:
        try:
            data = await self._context.read()
        finally:
            assert self._timer is not None
            self._timer.cancel()
            self._upload.clear()
        return data if isinstance(data, bytes) else None

    def _slow(self) -> None:
        """Its message is still arriving: grpcio holds it, and it may be as large as any."""
        limits = self.backend.limits
        try:
            self._upload.grow(limits.body_bytes)
        except ModelpadError as error:
            self._end(error)
        else:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(limits.body_s, self._expire)

    def _expire(self) -> None:
        self._end(DeadlineExceeded("The call's message did not arrive in time."))

    def _end(self, error: ModelpadError) -> None:
        self.failure = error
        self.backend.host.spawn(self._abort(error))


async def run_large(size: int, work: Callable[[*Given], T], *given: *Given) -> T:
    """The result of `work`, which runs on another thread when `size` is large."""
    if size < LARGE_BYTES:
        return work(*given)
    return await asyncio.to_thread(work, *given)


def read_headers(metadata: Metadata) -> dict[str, str]:
    """The text metadata of a call, gRPC's headers."""
    return {key: value for key, value in metadata if isinstance(value, str)}


def read_size(data: bytes, limit: int) -> int:
    """The declared size of a compressed message, or its largest possible size.

    Raises `TooLarge` when that is over the limit.
    """
    if not data.startswith(GZIP):
        return min(limit, DEFLATE_RATIO * len(data))
    size = int.from_bytes(data[-4:], "little")
    if size > limit:
        raise TooLarge(
            f"The message is {size:,} bytes when decompressed; the limit is {limit:,}.",
            limit=limit,
            got=size,
        )
    return size


def decompress(data: bytes, size: int) -> bytes:
    """A message of at most `size` bytes.

    Raises:
        InvalidInput: it is neither gzip nor deflate, or larger.
    """
    stream = zlib.decompressobj(31 if data.startswith(GZIP) else 15)
    try:
        whole = stream.decompress(data, size + 1)
    except zlib.error as error:
        raise InvalidInput("The compressed message cannot be decompressed.") from error
    if len(whole) > size or not stream.eof or stream.unused_data:
        raise InvalidInput("The compressed message is not one whole stream within the limit.")
    return whole
