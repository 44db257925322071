"""What the fleet decides and the supervisor does."""

from __future__ import annotations

from dataclasses import dataclass

from modelpad.server.workers.messages import FromSupervisor


@dataclass(frozen=True, slots=True)
class Fork:
    """Start one more worker."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to a worker; nothing happens when it has exited."""

    pid: int
    message: FromSupervisor


@dataclass(frozen=True, slots=True)
class Terminate:
    """Ask a worker to shut down gracefully (SIGTERM)."""

    pid: int


@dataclass(frozen=True, slots=True)
class Kill:
    """End a worker at once (SIGKILL)."""

    pid: int


@dataclass(frozen=True, slots=True)
class MeasureMemory:
    """Measure these workers, of `workers` in all, and report back."""

    pids: frozenset[int]
    workers: int


@dataclass(frozen=True, slots=True)
class CloseListener:
    """Refuse new connections."""


@dataclass(frozen=True, slots=True)
class LogError:
    """Write a line to the log."""

    text: str


@dataclass(frozen=True, slots=True)
class Exit:
    """End the supervisor with this exit code."""

    code: int


Action = Fork | Send | Terminate | Kill | MeasureMemory | CloseListener | LogError | Exit
