"""How much memory graphs may take together: those least recently used make room for others.

What counts is the memory that the process really has (its resident set), as graphs differ much in
how much more they take than their file; where the system does not tell, their files are counted.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

log = logging.getLogger("modelpad.engine")

M_ARENA_MAX = -8  # malloc.h


class Evictable(Protocol):
    """What can give its memory back, and take it again when it is used."""

    @property
    def graph_bytes(self) -> int:
        """About what it takes."""

    @property
    def title(self) -> str:
        """What to call it."""

    def evict(self) -> bool:
        """Gives its memory back; False when it is in use."""


class MemoryBudget:
    """Keeps models within `limit_bytes`, by what `measure` says that the process has."""

    def __init__(self, limit_bytes: int, measure: Callable[[], int] | None = None) -> None:
        self.limit_bytes = limit_bytes
        self._measure = measure
        self._awake: OrderedDict[Evictable, None] = OrderedDict()  # the least recently used first
        self._lock = threading.Lock()

    def note_use(self, model: Evictable) -> None:
        """It was used just now."""
        with self._lock:
            if model in self._awake:
                self._awake.move_to_end(model)

    def make_room(self, model: Evictable) -> None:
        """Before it wakes: puts others to sleep until there is room for it, or none is left.

        It may wake even where there is no room, as it could be used nowhere else.
        """
        with self._lock:
            for other in [*self._awake]:
                if self._used() + model.graph_bytes <= self.limit_bytes:
                    break
                if other.evict():
                    del self._awake[other]
                    release_memory()
                    log.info("%s sleeps, for %s to be opened", other.title, model.title)
            if self._used() + model.graph_bytes > self.limit_bytes:
                log.warning(
                    "%s is opened beyond the limit of %d MB",
                    model.title,
                    self.limit_bytes >> 20,
                )
            self._awake[model] = None

    def forget(self, model: Evictable) -> None:
        """It has gone."""
        with self._lock:
            self._awake.pop(model, None)

    def _used(self) -> int:
        if self._measure is not None:
            return self._measure()
        resident = resident_bytes()
        return resident or sum(model.graph_bytes for model in self._awake)


def resident_bytes() -> int:
    """The memory that this process has; 0 where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def share_arenas() -> None:
    """Lets all threads allocate from one pool, before they have pools of their own.

    glibc gives each thread its own, which for a server of one busy thread is memory that is freed
    and never used again: a fifth of a small server's.
    """
    if sys.platform == "linux":
        import ctypes

        limit = getattr(ctypes.CDLL(None), "mallopt", None)
        if limit is not None:
            limit(M_ARENA_MAX, 1)


def release_memory() -> None:
    """Gives what was freed back to the system, where the C library would keep it."""
    gc.collect(0)
    if sys.platform == "linux":
        import ctypes

        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
