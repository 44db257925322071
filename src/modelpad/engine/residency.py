"""A graph in memory: loaded once, counted while it is in use, evicted under a memory budget.

Independent of what the graph is: a session of ONNX Runtime, a native model's process, or the
stepper of a language model.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from modelpad.bundle import open_bundle

if TYPE_CHECKING:
    from modelpad.engine.memory import Evictable, MemoryBudget

Graph = TypeVar("Graph")


class Residence(Generic[Graph]):
    """Where an owner's graph is kept.

    With a memory budget, the graph is loaded when it is first used, and again after an eviction.
    """

    def __init__(
        self,
        owner: Evictable,
        folder: Path,
        load: Callable[[], Graph],
        memory: MemoryBudget | None = None,
        *,
        is_busy: Callable[[Graph], bool] = lambda graph: False,
        release: Callable[[], None] = lambda: None,
    ) -> None:
        """`folder` is the bundle's. `is_busy` says whether an unused graph must be kept all the
        same; `release` frees what dropping the graph does not.
        """
        self.graph: Graph | None = None
        self._owner, self._folder, self._memory = owner, folder, memory
        self._load, self._is_busy, self._release = load, is_busy, release
        self._users = 0
        self._lock = threading.Lock()

    def open(self) -> Graph:
        """Loads the graph. Raises as `load`, and `BundleInvalid` for a bundle that has changed."""
        if self._memory is not None:
            open_bundle(self._folder)  # verify again
        self.graph = self._load()
        return self.graph

    @contextmanager
    def use(self) -> Iterator[Graph]:
        """The loaded graph, which is not evicted meanwhile. Raises as `open`."""
        with self._lock:
            graph = self.graph
            if graph is None:
                if self._memory is not None:
                    self._memory.evict_for(self._owner)
                graph = self.open()
            self._users += 1
        try:
            yield graph
        finally:
            with self._lock:
                self._users -= 1
            if self._memory is not None:
                self._memory.mark_used(self._owner)

    def evict(self) -> bool:
        """Unloads the graph; returns False if it is in use, or about to be."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            if self._users or (self.graph is not None and self._is_busy(self.graph)):
                return False
            self._release()
            self.graph = None
            return True
        finally:
            self._lock.release()

    def close(self) -> None:
        """Unloads the graph permanently; a run that has begun finishes."""
        if self._memory is not None:
            self._memory.remove(self._owner)
        if not self._users:
            self._release()
        self.graph = None
