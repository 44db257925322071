"""The models of one process: loaded, watched, loaded and unloaded on request, and stopped.

Independent of HTTP and gRPC.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from modelpad import __version__
from modelpad.engine import CALLER
from modelpad.errors import NotFound, NotReady
from modelpad.server.model_table import ModelTable
from modelpad.server.observability.metrics import (
    GRAPHS_OPEN,
    QUEUE_LENGTH,
    WORKERS,
    Labels,
    Metrics,
    Snapshot,
    name_version,
)

if TYPE_CHECKING:
    from modelpad.engine import BatchRecord
    from modelpad.server.lifecycle.reconciler import Reconciler
    from modelpad.server.models import ServedModel
    from modelpad.server.observability.traces import Traces

# The header, or gRPC metadata, whose value is the sticky key of `ModelHost.find`.
STICKY = "x-modelpad-sticky"


class Channel(Protocol):
    """What a worker needs of its supervisor; a server of one process has none."""

    async def run_command(self, action: str, name: str) -> None:
        """Loads or unloads a model in all workers."""

    async def collect(self, own: Snapshot) -> list[Snapshot]:
        """The metrics of the other workers."""

    async def close(self, own: Snapshot) -> None:
        """Says goodbye, with this worker's last metrics."""


class ModelHost:
    """Holds the models and the background tasks.

    `reconciler` keeps the models in line with the store, `channel` connects to the supervisor;
    either may be missing. `stopping` is set when the server shuts down.
    """

    def __init__(self, models: ModelTable | None = None, traces: Traces | None = None) -> None:
        """`models` may be set later: until then the host is not ready."""
        self.models = models
        self.traces = traces
        self.metrics = Metrics(__version__)
        self.stopping = False
        self.reconciler: Reconciler | None = None
        self.channel: Channel | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        for model in models or ():
            self.watch(model)

    @property
    def is_ready(self) -> bool:
        """Readiness: the models are loaded, and the server is not stopping."""
        return self.models is not None and not self.stopping

    def require_models(self) -> ModelTable:
        """The models. Raises `NotReady` before they are loaded."""
        if self.models is None:
            raise NotReady("The models are still being loaded.", hint="Try again in a second.")
        return self.models

    def require_ready(self) -> None:
        """Raises `NotReady` before the models are loaded, and when the server is stopping."""
        self.require_models()
        if self.stopping:
            raise NotReady("The server is stopping.", hint="Use another one.")

    def watch(self, model: ServedModel) -> None:
        """Counts and traces the batches of a model."""

        def observe(record: BatchRecord) -> None:
            self.metrics.observe_batch(record, model=model.name, version=model.version)
            if self.traces is not None:
                self.traces.note_batch(record)

        model.batcher.observe = observe
        text = model.text
        if text is not None:
            text.observe_step = lambda record: self.metrics.observe_text(
                record, model=model.name, version=model.version
            )

    async def find(
        self, name: str | None, version: str = "", key: str | None = None
    ) -> ServedModel:
        """The model that a request names, its tensors known; None is the only model served.

        Requests with the same sticky `key` get the same version of a traffic split.

        Raises:
            ModelNotFound, VersionNotFound: there is none.
            BundleInvalid: its graph was not loaded yet, and cannot be.
        """
        models = self.require_models()
        model = models.find_only(key) if name is None else models.find(name, version, key)
        session = model.batcher.session
        if not session.is_described:
            await asyncio.to_thread(session.describe_tensors)
        if self.traces is not None:
            CALLER.get().note_model(model)
        return model

    async def override(self, action: str, name: str) -> None:
        """Loads or unloads a model in all workers, for an admin.

        Raises as `Reconciler.override`.
        """
        if self.reconciler is None:
            raise NotFound("This server has no store.", hint="Start it with: modelpad serve")
        if self.channel is not None:
            await self.channel.run_command(action, name)
        else:
            await self.reconciler.override(action, name)

    def stalled_models(self) -> str:
        """The models whose engine hangs, for a log line or an error; "" when there are none."""
        models = [] if self.models is None else self.models.versions
        stalled = (model for model in models if model.batcher.is_stuck)
        return ", ".join(f"{model.name} version {model.version}" for model in stalled)

    def snapshot(self) -> Snapshot:
        """The metrics of this process."""
        models = [] if self.models is None else self.models.versions
        queued: Counter[Labels] = Counter()
        for model in models:
            queued[("model", model.name),] += model.batcher.waiting
        loaded = {name_version(m.name, m.version): int(m.batcher.session.is_open) for m in models}
        gauges: dict[str, Mapping[Labels, float]] = {
            WORKERS: {(): 1},
            QUEUE_LENGTH: queued,
            GRAPHS_OPEN: loaded,
        }
        return self.metrics.snapshot(gauges)

    async def aggregate_metrics(self) -> Metrics:
        """The metrics of all workers. Raises `DeadlineExceeded` when they do not arrive."""
        total = Metrics(__version__)
        own = self.snapshot()
        others = [] if self.channel is None else await self.channel.collect(own)
        for snapshot in (own, *others):
            total.add(snapshot)
        return total

    def spawn(self, work: Coroutine[Any, None, None]) -> None:
        """Runs a task that no response waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def start(self) -> None:
        """Reconciles with the store once, then in the background; a supervisor does the latter."""
        reconciler = self.reconciler
        if reconciler is not None and (
            reconciler.interval_s or reconciler.catalogue.overrides.loaded
        ):
            await reconciler.reconcile()
            if self.channel is None:
                self.spawn(reconciler.run())

    async def stop(self) -> None:
        """Stops background tasks, closes the models and flushes traces."""
        for task in self._tasks:
            task.cancel()
        if self.channel is not None:
            await self.channel.close(self.snapshot())
        if self.reconciler is not None:
            await self.reconciler.stop()
        if self.models is not None:
            self.models.close()
        if self.traces is not None:
            await self.traces.stop()
