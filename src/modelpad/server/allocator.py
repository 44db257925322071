"""Memory that is free again goes back to the system, where the C library would keep it.

glibc learns from the blocks that are freed to keep ever larger ones for later, so that after a few
large requests a process stays as large as its peak, and its peak is more than what it uses.
"""

from __future__ import annotations

import sys
import threading
from functools import cache
from typing import Any

TRIMMED_BYTES = 4 * 1024 * 1024  # a request that held more is worth a trim
DELAY_S = 0.5
# From this size on, each block is mapped alone, and unmapped when it is freed.
MAPPED_BYTES = 1024 * 1024
M_MMAP_THRESHOLD = -3  # of malloc.h

_waiting = threading.Lock()


def map_large_blocks() -> None:
    """Fixes the size from which blocks are mapped, which glibc otherwise raises to 32 MB."""
    library = _load_library()
    if library is not None:
        library.mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES)


def trim_soon() -> None:
    """Trims half a second from now, on a thread of its own; once for all that ask until then."""
    if _load_library() is not None and _waiting.acquire(blocking=False):
        timer = threading.Timer(DELAY_S, _trim)
        timer.daemon = True
        timer.start()


def _trim() -> None:
    _waiting.release()
    library = _load_library()
    if library is not None:
        library.malloc_trim(0)


@cache
def _load_library() -> Any:
    """The C library, where it is glibc; None elsewhere."""
    if sys.platform != "linux":
        return None
    import ctypes

    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") and hasattr(library, "mallopt") else None
