"""How a job's process leaves the machine to others: priority, CPUs, memory, and its end.

A job computes at the lowest priority, on some of the CPUs. It stays in the session of the server
that started it: Linux may share the CPU among sessions first (`sched_autogroup_enabled`), and a
priority counts only within one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path

from modelpad.jobs.settings import WorkSettings

NICENESS = 19  # the weight in the scheduler is 15, that of predictions 1024
THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
    *("NUMEXPR_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "LOKY_MAX_CPU_COUNT"),
)
PR_SET_PDEATHSIG = 1


def list_cpus() -> list[int]:
    """The CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def choose_cpus(settings: WorkSettings, slot: int, cpus: list[int]) -> list[int]:
    """The CPUs of a slot: its own, as far as there are enough, from the last one on."""
    cores = settings.cores or max(1, len(cpus) // 2)
    first = slot * cores
    return [cpus[-1 - (first + each) % len(cpus)] for each in range(min(cores, len(cpus)))]


def thread_environment(cores: int) -> dict[str, str]:
    """Variables that make libraries compute with so many threads."""
    return dict.fromkeys(THREAD_VARIABLES, str(cores))


def confine_process(cpus: list[int], memory_bytes: int, parent: int) -> None:
    """Confines this process, for good. Raises `SystemExit` if `parent` has ended already."""
    end_with_parent(parent)
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    if hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, cpus)
    if sys.platform == "linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)  # the server's own limit is inherited
        is_lower = memory_bytes and (hard == resource.RLIM_INFINITY or memory_bytes < hard)
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes if is_lower else hard, hard))


def end_with_parent(parent: int) -> None:
    """Makes the system kill this process when `parent`, which started it, ends.

    Elsewhere than on Linux, a thread watches for that. Raises `SystemExit` if it is gone already.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        import threading

        threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        raise SystemExit(1)


def resident_bytes(group: int) -> int:
    """What the processes of a group use together; 0 where that is unknown (other than Linux)."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat") if sys.platform == "linux" else ():
        with contextlib.suppress(OSError, ValueError, IndexError):
            # After the name, which may contain anything: state, parent, group, ...
            values = stat.read_text().rpartition(")")[2].split()
            if int(values[2]) == group:
                total += int(values[21]) * os.sysconf("SC_PAGE_SIZE")
    return total


def kill_group(group: int) -> None:
    """Kills all processes of a group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _watch_parent(parent: int) -> None:
    import time

    while os.getppid() == parent:
        time.sleep(0.5)
    kill_group(os.getpgrp())
