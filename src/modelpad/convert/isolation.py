"""Work of a framework's native code in a child process, which returns bytes and may crash."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from modelpad.confine import can_confine, run_confined
from modelpad.errors import ConversionFailed

TIMEOUT_S = 600.0


def isolate(work: Callable[[], bytes], what: str) -> bytes:
    """What `work` returns in a child process, whose output is discarded; without one, in this.

    Raises:
        ConversionFailed: the process crashed; the message has its last words. Or it took too long.
        RuntimeError: `work` raised any other error than modelpad's own.
    """
    if not can_confine():
        return work()
    with tempfile.TemporaryDirectory(prefix="modelpad-") as folder:
        result, log = Path(folder) / "result", Path(folder) / "log"

        def write() -> None:
            descriptor = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            gc.disable()  # finalizers of this process's models need threads that a fork lacks
            result.write_bytes(work())

        try:
            run_confined(write, what, TIMEOUT_S)
        except ConversionFailed as error:
            if "signal" not in error.details:
                raise
            raise ConversionFailed(
                f"{what} crashed ({error.details['signal']}){_last_words(log)}.",
                hint=error.hint,
                **error.details,
            ) from error
        return result.read_bytes()


def _last_words(log: Path) -> str:
    lines: list[str] = []
    with suppress(OSError):
        lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    return f": {lines[-1].strip()[:200].rstrip('.')}" if lines else ""
