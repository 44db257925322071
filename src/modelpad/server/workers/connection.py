"""The supervisor's end of one worker's socket: never blocks, keeps what does not fit for later."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from modelpad.server.workers import messages

READ_BYTES = 1 << 16


@dataclass(slots=True, eq=False)
class WorkerConnection:
    """A non-blocking socket to the worker `pid`; `closed` when the other end is."""

    pid: int
    socket: socket.socket
    closed: bool = False
    incoming: bytes = b""
    outgoing: bytes = b""

    def receive(self) -> list[messages.FromWorker]:
        """The complete messages in the next 64 KB."""
        self._read()
        return self._take_messages()

    def receive_all(self) -> list[messages.FromWorker]:
        """Everything that a worker sent before it exited."""
        while self._read():
            continue
        return self._take_messages()

    def send(self, message: messages.FromSupervisor) -> None:
        """Sends the message, or as much of it as the socket takes now."""
        self.outgoing += messages.write_line(message)
        self.flush()

    def flush(self) -> None:
        """Sends the rest of earlier messages."""
        try:
            while self.outgoing:
                self.outgoing = self.outgoing[self.socket.send(self.outgoing) :]
        except BlockingIOError:
            pass
        except OSError:
            self.outgoing = b""  # the worker has died, and will be reaped

    def _read(self) -> bool:
        try:
            received = self.socket.recv(READ_BYTES)
        except BlockingIOError:
            return False
        except ConnectionError:
            received = b""
        self.incoming += received
        self.closed = not received
        return not self.closed

    def _take_messages(self) -> list[messages.FromWorker]:
        *lines, self.incoming = self.incoming.split(b"\n")
        return [messages.read_from_worker(line) for line in lines]
