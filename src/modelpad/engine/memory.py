"""A memory budget for graphs: the least recently used are evicted to load others.

The process's resident memory is measured, because a graph may need far more than the size of its
file. Where it cannot be measured, file sizes are added up.
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
    """A model whose memory can be released, and which loads itself again when it is used."""

    @property
    def graph_bytes(self) -> int:
        """Its approximate size in memory."""

    @property
    def process_bytes(self) -> int:
        """What it uses now in a process of its own; 0 without one."""

    @property
    def title(self) -> str:
        """Its name in the log."""

    def evict(self) -> bool:
        """Releases its memory; returns False if it is in use."""


class MemoryBudget:
    """Keeps the process within `limit_bytes`, as `measure` reports them."""

    def __init__(self, limit_bytes: int, measure: Callable[[], int] | None = None) -> None:
        self.limit_bytes = limit_bytes
        self._measure = measure
        self._loaded: OrderedDict[Evictable, None] = OrderedDict()  # least recently used first
        self._lock = threading.Lock()

    def mark_used(self, model: Evictable) -> None:
        """Makes the model the most recently used."""
        with self._lock:
            if model in self._loaded:
                self._loaded.move_to_end(model)

    def evict_for(self, model: Evictable) -> None:
        """Evicts other models until `model` fits, or none is left. Call it before loading.

        A model that does not fit may be loaded nevertheless, since it could not be used otherwise.
        """
        with self._lock:
            for other in [*self._loaded]:
                if self._used() + model.graph_bytes <= self.limit_bytes:
                    break
                if other.evict():
                    del self._loaded[other]
                    release_memory()
                    log.info("evicted %s to load %s", other.title, model.title)
            if self._used() + model.graph_bytes > self.limit_bytes:
                log.warning(
                    "loading %s exceeds the memory limit of %d MB",
                    model.title,
                    self.limit_bytes >> 20,
                )
            self._loaded[model] = None

    def remove(self, model: Evictable) -> None:
        """Removes a closed model."""
        with self._lock:
            self._loaded.pop(model, None)

    def _used(self) -> int:
        if self._measure is not None:
            return self._measure()
        resident = resident_bytes()
        if resident:
            return resident + sum(model.process_bytes for model in self._loaded)
        return sum(model.graph_bytes for model in self._loaded)


def resident_bytes(process: int | str = "self") -> int:
    """The resident memory of a process, by its number, or of this one; 0 if unknown."""
    try:
        pages = Path(f"/proc/{process}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def share_arenas() -> None:
    """Makes all threads allocate from one arena. Call it before starting threads.

    glibc gives each thread its own. In a server with one busy thread, the memory freed in the other
    arenas is never used again: about a fifth of a small server.
    """
    if sys.platform == "linux":
        import ctypes

        limit = getattr(ctypes.CDLL(None), "mallopt", None)
        if limit is not None:
            limit(M_ARENA_MAX, 1)


def release_memory() -> None:
    """Returns freed memory to the system, where the C library would keep it."""
    gc.collect(0)
    if sys.platform == "linux":
        import ctypes

        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
