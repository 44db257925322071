"""How much memory a worker may use: limited by the system, and watched by the supervisor.

An allocation beyond the limit fails, and only the request that needed it. A worker that stays near
its limit holds memory that it does not free, and is replaced.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Collection, Iterator
from enum import Enum
from pathlib import Path

import msgspec

SHARE = 0.8  # of the machine's memory, for all workers together
MIN_WORKER_BYTES = 512 * 1024 * 1024  # for each, if the machine has that much
HIGH = 0.9  # of the limit: a worker that stays above is replaced
HIGH_AT_START = 0.75  # of the limit: a worker that starts above is kept: the next would be as large
TOO_HIGH = 1.25  # of the limit: killed; reached only where the system does not enforce the limit
MAX_HIGH = 3  # measurements in a row
STATM_RESIDENT, STATM_DATA = 1, 5  # fields of /proc/PID/statm
UNLIMITED = 1 << 60  # cgroups report at least this when there is no limit
CGROUPS = Path("/sys/fs/cgroup")


class WorkerMemory(msgspec.Struct, frozen=True):
    """The limit of each worker: `worker_bytes`, 0 for none, None for a share of the machine's.

    The system enforces it if `capped`: not with GPUs, whose drivers reserve far more than they use.
    """

    worker_bytes: int | None = None
    capped: bool = True

    def limit(self, workers: int) -> int:
        """The limit in bytes of each of so many workers; 0 for none."""
        if self.worker_bytes is not None:
            return self.worker_bytes
        total = SHARE * total_bytes()
        return int(max(total / workers, min(MIN_WORKER_BYTES, total)))

    def cap(self, workers: int) -> None:
        """Makes allocations of this process, one of so many workers, fail beyond its limit.

        ONNX Runtime and Python both turn that into an error of the request. Writable memory counts
        (`RLIMIT_DATA`), mapped files and libraries do not. Linux only.
        """
        limit_bytes = self.limit(workers)
        if self.capped and limit_bytes and sys.platform == "linux":
            import resource

            _, hard = resource.getrlimit(resource.RLIMIT_DATA)
            if hard == resource.RLIM_INFINITY or limit_bytes < hard:
                resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, hard))

    def measure(self, pids: Collection[int]) -> dict[int, int]:
        """The bytes that each process uses, as its limit counts them; without unknown processes.

        The resident memory of the processes that it has started for native models is added.
        """
        if sys.platform != "linux":
            return _run_ps(pids) if pids else {}
        own = _read_statm(pids, STATM_DATA if self.capped else STATM_RESIDENT)
        return {
            pid: size + sum(_read_statm(_list_children(pid), STATM_RESIDENT).values())
            for pid, size in own.items()
        }


def total_bytes() -> int:
    """The memory of this machine or container; 0 if unknown."""
    found = []
    with contextlib.suppress(ValueError, OSError, AttributeError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for path in _list_cgroup_limits():
        with contextlib.suppress(ValueError, OSError):
            found.append(int(path.read_text()))
    return min((size for size in found if 0 < size < UNLIMITED), default=0)


def _read_statm(pids: Collection[int], column: int) -> dict[int, int]:
    found = {}
    page = os.sysconf("SC_PAGE_SIZE")
    for pid in pids:
        with contextlib.suppress(OSError, IndexError, ValueError):
            found[pid] = int(Path(f"/proc/{pid}/statm").read_text().split()[column]) * page
    return found


def _list_children(pid: int) -> list[int]:
    """The processes that a process has started; none where the kernel does not list them."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):  # of each thread
        with contextlib.suppress(OSError, ValueError):
            found += [int(child) for child in path.read_text().split()]
    return found


def _run_ps(pids: Collection[int]) -> dict[int, int]:
    import subprocess

    try:
        output = subprocess.run(
            ["ps", "-axo", "pid=,ppid=,rss="], capture_output=True, text=True, timeout=5
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    rows = [[int(each) for each in line.split()] for line in output.splitlines()]
    listed = {pid for pid, _, _ in rows if pid in pids}
    return {
        one: 1024 * sum(size for pid, parent, size in rows if one in (pid, parent))
        for one in listed
    }


def _list_cgroup_limits() -> Iterator[Path]:
    """Files that may hold the limit of this process's cgroup; a container sees its own as root."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:  # 0::/path, or NUMBER:CONTROLLERS:/path with cgroups v1
        _, controllers, own = line.split(":", 2)
        for path in {"", own.strip("/")}:
            if not controllers:
                yield CGROUPS / path / "memory.max"
            elif "memory" in controllers.split(","):
                yield CGROUPS / "memory" / path / "memory.limit_in_bytes"


class Verdict(Enum):
    """What to do with a worker."""

    KEEP = "keep"
    REPLACE = "replace"
    KILL = "kill"


class MemoryWatch(msgspec.Struct):
    """Evaluates workers by their latest measurements; does not touch processes."""

    first_bytes: dict[int, int] = {}  # when a worker was first measured
    times_high: dict[int, int] = {}  # measurements in a row

    def judge(self, sizes: dict[int, int], limit_bytes: int) -> dict[int, Verdict]:
        """What to do with each worker, given the bytes that it uses now; forgets all others."""
        self.first_bytes = {pid: self.first_bytes.get(pid, size) for pid, size in sizes.items()}
        self.times_high = {
            pid: self.times_high.get(pid, 0) + 1
            for pid, size in sizes.items()
            if size > HIGH * limit_bytes
        }
        return {pid: self._judge(pid, size, limit_bytes) for pid, size in sizes.items()}

    def _judge(self, pid: int, size: int, limit_bytes: int) -> Verdict:
        if size > TOO_HIGH * limit_bytes:
            return Verdict.KILL
        has_grown = self.first_bytes[pid] < HIGH_AT_START * limit_bytes
        if has_grown and self.times_high.get(pid, 0) >= MAX_HIGH:
            return Verdict.REPLACE
        return Verdict.KEEP
