"""Returns freed memory to the system, where the C library would keep it.

glibc raises its threshold for mapped blocks with each large block that is freed, so that after a
few large requests a process stays as large as its peak.
"""

from __future__ import annotations

import sys
import threading
from functools import cache
from typing import Any

TRIMMED_BYTES = 4 * 1024 * 1024  # worth a trim after a request that held more
DELAY_S = 0.5
# Blocks of this size and above are mapped one by one, and unmapped when freed.
MAPPED_BYTES = 1024 * 1024
M_MMAP_THRESHOLD = -3  # of malloc.h

_waiting = threading.Lock()


def map_large_blocks() -> None:
    """Fixes the threshold for mapped blocks, which glibc otherwise raises up to 32 MB.

    Call it before models are loaded: what that frees would stay with the process, up to the size of
    the weights.
    """
    library = _load_library()
    if library is not None:
        library.mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES)


def trim_soon() -> None:
    """Trims in half a second, on a thread of its own; calls until then share one trim."""
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
