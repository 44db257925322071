"""Frames from the process that runs a model in its own framework."""

from __future__ import annotations

import socket

from modelpad.engine.frames import FrameInvalid, Result, pack_arrays, receive_frame, send_frame

DECODERS = ("modelpad.engine.frames",)
MAX_BYTES = 1 << 16  # fits into a socket's buffer


def fuzz(data: bytes) -> None:
    """A frame is rejected, or its tensors survive another journey."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(data[:MAX_BYTES])
        ours.shutdown(socket.SHUT_WR)
        try:
            _, arrays = receive_frame(theirs)
        except (EOFError, FrameInvalid):
            return
        parts, body = pack_arrays(arrays)
        send_frame(theirs, Result(parts), body)
        _, again = receive_frame(ours)
        assert [(a.shape, a.dtype, a.tobytes()) for a in arrays.values() if a.dtype != object] == [
            (a.shape, a.dtype, a.tobytes()) for a in again.values() if a.dtype != object
        ]
