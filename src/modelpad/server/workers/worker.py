"""A worker as its supervisor sees it: a process, and the supervisor's end of the line to it."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

from modelpad.server.observability.metrics import Snapshot
from modelpad.server.workers import messages

PART = 1 << 16


@dataclass(slots=True, eq=False)
class Worker:
    """A worker as its supervisor sees it; times are of the monotonic clock."""

    pid: int
    connection: socket.socket
    begun: float
    ready_at: float = 0.0
    unanswered: int = 0  # pings; not seconds, which go on while all processes are paused
    leave_by: float = 0.0  # it was told to stop, and is killed after that
    counts: Snapshot = field(default_factory=Snapshot)
    incoming: bytes = b""
    outgoing: bytes = b""
    silent: bool = False  # its end of the line is closed

    @property
    def serves(self) -> bool:
        """Whether it answers requests."""
        return bool(self.ready_at) and not self.leave_by

    def receive(self) -> list[bytes]:
        """The whole lines that have come."""
        try:
            part = self.connection.recv(PART)
            self.incoming += part
            self.silent = not part
        except BlockingIOError:
            pass
        except ConnectionError:
            self.silent = True
        *lines, self.incoming = self.incoming.split(b"\n")
        return lines

    def send(self, message: messages.FromSupervisor) -> None:
        """Sends it as soon as the worker reads."""
        self.outgoing += messages.write_line(message)
        self.flush()

    def flush(self) -> None:
        """Sends what the socket takes."""
        try:
            while self.outgoing:
                self.outgoing = self.outgoing[self.connection.send(self.outgoing) :]
        except BlockingIOError:
            pass
        except OSError:
            self.outgoing = b""  # it has died; it is about to be buried
