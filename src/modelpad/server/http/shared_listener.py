"""A listening socket from which several workers accept in turns."""

from __future__ import annotations

import asyncio
from socket import socket

from modelpad.server.http.turns import AcceptTurns

WAIT_S = 0.001
MAX_WAITS = 10  # then another worker accepts


class SharedListener:
    """A listening socket that this process shares with other workers."""

    def __init__(self, listener: socket, turns: AcceptTurns) -> None:
        self._listener, self._turns = listener, turns
        self._waits = 0  # since there was no connection, or it was this process's turn

    async def accept(self, connections: int) -> socket | None:
        """Accepts a connection if it is this process's turn, else gives None: try again.

        `connections` is how many it has. Raises `OSError` as `socket.accept` does.
        """
        await _wait_readable(self._listener)
        if self._turns.is_next(connections):
            self._waits = 0
        elif self._waits < MAX_WAITS:
            self._waits += 1
            await asyncio.sleep(WAIT_S)
            return None
        try:
            accepted, _ = self._listener.accept()
        except BlockingIOError:
            self._waits = 0
            return None
        accepted.setblocking(False)
        return accepted


async def _wait_readable(listener: socket) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(listener, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(listener)
