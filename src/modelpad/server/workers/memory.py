"""How much memory one worker may take: capped by the system, and watched by the supervisor.

An allocation beyond the cap fails, and with it the request that asked for it; a worker that stays
near the cap has memory that it does not give back, and is replaced.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

SHARE = 0.8  # of the machine's memory, for all workers together
LEAST_BYTES = 512 * 1024 * 1024  # for one, where the machine has that much
HIGH = 0.9  # of the limit: a worker that stays above is replaced
STARTS_HIGH = 0.75  # of the limit: a worker that begins above is never replaced, as it would recur
TOO_HIGH = 1.25  # of the limit: where the system does not cap it, it is killed
PATIENCE = 3  # looks in a row
STATM_RESIDENT, STATM_DATA = 1, 5  # places in /proc/PID/statm
UNLIMITED = 1 << 60  # what cgroups say where there is no limit
CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class WorkerMemory:
    """How many bytes each worker may take: `worker_bytes`, 0 for any, None for a share of all.

    They are `capped` but where drivers of a device reserve far more than they use.
    """

    worker_bytes: int | None = None
    capped: bool = True

    def limit(self, workers: int) -> int:
        """The limit of one of so many workers, 0 where there is none."""
        if self.worker_bytes is not None:
            return self.worker_bytes
        total = SHARE * total_bytes()
        return int(max(total / workers, min(LEAST_BYTES, total)))

    def cap(self, workers: int) -> None:
        """Lets allocations of this process, one of so many, fail beyond its limit.

        ONNX Runtime and Python both turn that into an error of the request. What counts is memory
        that may be written (`RLIMIT_DATA`), not the files and libraries that are mapped. Only
        Linux does so.
        """
        limit_bytes = self.limit(workers)
        if self.capped and limit_bytes and sys.platform == "linux":
            import resource

            _, hard = resource.getrlimit(resource.RLIMIT_DATA)
            if hard == resource.RLIM_INFINITY or limit_bytes < hard:
                resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, hard))

    def weigh(self, pids: Collection[int]) -> dict[int, int]:
        """The bytes that each process takes, as its limit counts them; of those that are known."""
        if sys.platform == "linux":
            return _read_statm(pids, STATM_DATA if self.capped else STATM_RESIDENT)
        return _ask_ps(pids) if pids else {}


def total_bytes() -> int:
    """The memory that this machine or container has; 0 where the system does not tell."""
    found = []
    with contextlib.suppress(ValueError, OSError, AttributeError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for path in _list_cgroup_limits():
        with contextlib.suppress(ValueError, OSError):
            found.append(int(path.read_text()))
    return min((size for size in found if 0 < size < UNLIMITED), default=0)


def _read_statm(pids: Collection[int], place: int) -> dict[int, int]:
    found = {}
    page = os.sysconf("SC_PAGE_SIZE")
    for pid in pids:
        with contextlib.suppress(OSError, IndexError, ValueError):
            found[pid] = int(Path(f"/proc/{pid}/statm").read_text().split()[place]) * page
    return found


def _ask_ps(pids: Collection[int]) -> dict[int, int]:
    import subprocess

    listed = ",".join(str(pid) for pid in pids)
    try:
        told = subprocess.run(
            ["ps", "-o", "pid=,rss=", "-p", listed], capture_output=True, text=True, timeout=5
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    rows = [line.split() for line in told.splitlines()]
    return {int(row[0]): int(row[1]) * 1024 for row in rows if len(row) == 2}


def _list_cgroup_limits() -> Iterator[Path]:
    """Where the limits of this process's cgroup may be: a container's is the root that it sees."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:  # 0::/path, or NUMBER:CONTROLLERS:/path in the first version
        _, controllers, own = line.split(":", 2)
        for path in {"", own.strip("/")}:
            if not controllers:
                yield CGROUPS / path / "memory.max"
            elif "memory" in controllers.split(","):
                yield CGROUPS / "memory" / path / "memory.limit_in_bytes"


class Verdict(Enum):
    """What is to be done with a worker."""

    KEEP = "keep"
    REPLACE = "replace"
    KILL = "kill"


@dataclass(slots=True)
class MemoryWatch:
    """Judges workers by what they took at the last looks; knows no processes."""

    begun: dict[int, int] = field(default_factory=dict)  # bytes, when a worker was first looked at
    high: dict[int, int] = field(default_factory=dict)  # looks in a row

    def judge(self, sizes: dict[int, int], limit_bytes: int) -> dict[int, Verdict]:
        """What is to be done with each worker that is ready, by the bytes that it takes now.

        Those that are not told of any more are forgotten.
        """
        self.begun = {pid: self.begun.get(pid, size) for pid, size in sizes.items()}
        self.high = {
            pid: self.high.get(pid, 0) + 1
            for pid, size in sizes.items()
            if size > HIGH * limit_bytes
        }
        return {pid: self._judge(pid, size, limit_bytes) for pid, size in sizes.items()}

    def _judge(self, pid: int, size: int, limit_bytes: int) -> Verdict:
        if size > TOO_HIGH * limit_bytes:
            return Verdict.KILL
        grown = self.begun[pid] < STARTS_HIGH * limit_bytes
        if grown and self.high.get(pid, 0) >= PATIENCE:
            return Verdict.REPLACE
        return Verdict.KEEP
