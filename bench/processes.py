"""A server under test: starts it, waits for it, measures its processes and stops them all.

Some servers start daemons that leave their parent and its process group. On Linux this process
adopts them (prctl's child subreaper), so that they are measured and stopped with the rest. Knows
nothing about HTTP except the first bytes of a response.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

SET_CHILD_SUBREAPER = 36
GRACE_S = 10.0
LOG_BYTES = 2000


def adopt_orphans() -> None:
    """Makes this process the parent of every descendant whose own parent exits."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def exit_on_sigterm() -> None:
    """Makes SIGTERM act like Ctrl-C, so that servers are stopped as well."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


class Server:
    """One server and its process tree. A context manager; use one at a time."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        adopt_orphans()
        self.before = set(psutil.Process().children(recursive=True))
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 -- stop() closes it
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_for_answer(self, port: int, request: bytes, patience_s: float) -> None:
        """Waits until the request gets 200. Raises `RuntimeError` with the log on timeout."""
        end = time.monotonic() + patience_s
        seen = "no response"
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server exited: {self.read_log()}")
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                    connection.sendall(request)
                    status = connection.recv(4096)[9:12]
                if status == b"200":
                    return
                seen = f"status {status.decode()}"
            except OSError:
                pass
            time.sleep(0.005)
        raise RuntimeError(f"{seen} within {patience_s:.0f} s: {self.read_log()}")

    def read_log(self) -> str:
        """The last part of the server's output."""
        size = self.log.seek(0, os.SEEK_END)
        self.log.seek(max(0, size - LOG_BYTES))
        return self.log.read().decode(errors="replace").strip()

    def tree(self) -> list[psutil.Process]:
        """The server's running processes, adopted ones included."""
        return [
            each for each in psutil.Process().children(recursive=True) if each not in self.before
        ]

    def cpu_seconds(self) -> float:
        """User and system CPU time of the process tree so far."""
        return sum(sum(each.cpu_times()[:2]) for each in skip_ended(self.tree()))

    def memory_bytes(self, kind: str = "pss") -> int:
        """The memory of the process tree; see `measure_memory`."""
        return measure_memory(self.tree(), kind)

    def stop(self) -> None:
        """Terminates the server, then the rest of its tree, then kills whatever is left."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE_S)
        for end in (psutil.Process.terminate, psutil.Process.kill):
            left = self.tree()
            for each in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    end(each)
            psutil.wait_procs(left, timeout=GRACE_S / 2)
        self.process.wait()
        self.log.close()


def measure_memory(tree: Iterable[psutil.Process], kind: str = "pss") -> int:
    """PSS of processes in bytes (counts shared memory once), or "uss", their private memory."""
    return sum(getattr(each.memory_full_info(), kind) for each in skip_ended(tree))


def list_tree(pid: int) -> list[psutil.Process]:
    """A process and its descendants."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def find_port() -> int:
    """A port that is free at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def skip_ended(tree: Iterable[psutil.Process]) -> Iterator[psutil.Process]:
    """The processes that can still be measured: neither gone nor zombies."""
    for each in tree:
        with contextlib.suppress(psutil.NoSuchProcess):
            if each.status() != psutil.STATUS_ZOMBIE:
                yield each
