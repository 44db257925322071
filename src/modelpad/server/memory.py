"""Memory that is free again goes back to the system, where the C library keeps it.

glibc keeps freed blocks for later; after one large request a process stays as large as its peak.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from functools import cache
from typing import Any

TRIMMED_BYTES = 4 * 1024 * 1024  # a request that held more is worth a trim
DELAY_S = 0.5

_waiting = threading.Lock()


def trim_soon() -> None:
    """Trims half a second from now, on a thread of its own; once for all that ask until then."""
    if _find_trim() is not None and _waiting.acquire(blocking=False):
        timer = threading.Timer(DELAY_S, _trim)
        timer.daemon = True
        timer.start()


def _trim() -> None:
    _waiting.release()
    trim = _find_trim()
    if trim is not None:
        trim(0)


@cache
def _find_trim() -> Any:
    """glibc's `malloc_trim`; None elsewhere."""
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
