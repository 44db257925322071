"""A server under measurement: started, waited for, weighed, and ended with all it started.

Servers leave daemons that forsake their parent and its process group. Where Linux allows it, this
process adopts them (prctl's child subreaper), so that they are weighed and ended with the rest.
Knows nothing of HTTP beyond the first bytes of an answer.
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
from collections.abc import Iterator
from pathlib import Path

import psutil

SET_CHILD_SUBREAPER = 36
GRACE_S = 10.0
LOG_BYTES = 2000


def adopt_orphans() -> None:
    """Makes this process the parent of every descendant whose own parent ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def heed_termination() -> None:
    """Lets SIGTERM end this process as Ctrl-C does, so that its servers are ended too."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


class Server:
    """One server and the whole tree of its processes; use it in a `with`, one at a time."""

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
        """Until the server answers the request with 200; RuntimeError with its log if never."""
        end = time.monotonic() + patience_s
        seen = "no answer"
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server stopped: {self.read_log()}")
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
        """The end of what the server printed."""
        size = self.log.seek(0, os.SEEK_END)
        self.log.seek(max(0, size - LOG_BYTES))
        return self.log.read().decode(errors="replace").strip()

    def tree(self) -> list[psutil.Process]:
        """The server's living processes, adopted ones too."""
        return [
            each for each in psutil.Process().children(recursive=True) if each not in self.before
        ]

    def cpu_seconds(self) -> float:
        """Processor time of the whole tree until now, in user and in system mode."""
        return sum(sum(each.cpu_times()[:2]) for each in skip_ended(self.tree()))

    def memory_bytes(self, kind: str = "pss") -> int:
        """PSS of the whole tree, in which what is shared is counted once; or "uss", the private."""
        return sum(getattr(each.memory_full_info(), kind) for each in skip_ended(self.tree()))

    def stop(self) -> None:
        """Asks the server to end, then the rest of the tree, then ends what is left by force."""
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


def skip_ended(tree: list[psutil.Process]) -> Iterator[psutil.Process]:
    """Those that can still be asked for their figures: neither gone nor zombies."""
    for each in tree:
        with contextlib.suppress(psutil.NoSuchProcess):
            if each.status() != psutil.STATUS_ZOMBIE:
                yield each
