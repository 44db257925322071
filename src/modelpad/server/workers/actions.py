"""What the fleet decides and the supervisor does.

Structs, as messages are: defining a dataclass takes longer than anything else in these modules.
"""

from __future__ import annotations

import msgspec

from modelpad.server.workers.messages import FromSupervisor


class Fork(msgspec.Struct, frozen=True):
    """Start one more worker."""


class Send(msgspec.Struct, frozen=True):
    """Send a message to a worker; ignored if it has exited."""

    pid: int
    message: FromSupervisor


class Terminate(msgspec.Struct, frozen=True):
    """Ask a worker to shut down gracefully (SIGTERM)."""

    pid: int


class Kill(msgspec.Struct, frozen=True):
    """Kill a worker (SIGKILL)."""

    pid: int


class MeasureMemory(msgspec.Struct, frozen=True):
    """Measure these workers, of `workers` in all, and report back."""

    pids: frozenset[int]
    workers: int


class CloseListener(msgspec.Struct, frozen=True):
    """Refuse new connections."""


class LogError(msgspec.Struct, frozen=True):
    """Write a line to the log."""

    text: str


class Exit(msgspec.Struct, frozen=True):
    """End the supervisor with this exit code."""

    code: int


Action = Fork | Send | Terminate | Kill | MeasureMemory | CloseListener | LogError | Exit
