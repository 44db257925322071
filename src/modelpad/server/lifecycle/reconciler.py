"""Keeps the served models in line with the store.

A new version is loaded next to the old one, and checked with its own samples before it serves
requests. A version that fails is not served, and the old one stays. If the store cannot be read,
nothing is unloaded.

A change has two steps, so that several processes can make it together: `prepare` loads what is
missing, `apply` switches requests over.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from math import inf
from typing import TYPE_CHECKING, Protocol

from modelpad.engine import release_memory
from modelpad.errors import (
    DeadlineExceeded,
    ModelFailed,
    ModelNotFound,
    ModelpadError,
    StoreError,
    suggest_name,
)
from modelpad.server.lifecycle.overrides import LOAD, UNLOAD
from modelpad.server.model_table import ModelTable, ServedVersions
from modelpad.server.models import ServedModel

if TYPE_CHECKING:
    from modelpad.server.lifecycle.catalogue import Catalogue
    from modelpad.server.observability.metrics import Metrics
    from modelpad.store import DesiredState

log = logging.getLogger("modelpad.server")

RETRY_S = 60.0
JITTER = (0.8, 1.2)  # so that servers which started together do not ask together for ever
OPEN_S = 300.0  # to load a version and predict its samples; after that it is not tried again
DRAIN_S = 60.0


class Host(Protocol):
    """The host whose models are reconciled."""

    metrics: Metrics

    def require_models(self) -> ModelTable:
        """The models. Raises `NotReady` before they are loaded."""

    def watch(self, model: ServedModel) -> None:
        """Counts and traces the batches of a model."""


class Reconciler:
    """Keeps a host's models in line with a catalogue.

    It looks at the catalogue about every `interval_s`, 0 for never.
    """

    def __init__(self, host: Host, catalogue: Catalogue, interval_s: float = 2.0) -> None:
        self._host = host
        self.catalogue = catalogue
        self.interval_s = interval_s
        self.failed: dict[tuple[str, int], float] = {}
        self._beside: dict[str, dict[int, ServedModel]] = {}  # loaded, not served yet
        self._retiring: set[asyncio.Task[None]] = set()
        self._opening = asyncio.Lock()  # commands and changes run one at a time

    async def run(self) -> None:
        """Reconciles about every `interval_s`, until cancelled."""
        while self.interval_s:
            await asyncio.sleep(self.interval_s * random.uniform(*JITTER))
            await self.reconcile()

    async def stop(self) -> None:
        """Stops unloading: the process is about to exit."""
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)

    async def reconcile(self) -> None:
        """Reconciles once; a model that fails does not hold up the others."""
        for name, plan in (await self.plans()).items():
            try:
                async with self._opening:
                    self.apply(name, plan, await self._open_missing(name, plan))
            except Exception:
                log.exception("%s: cannot reconcile", name)

    async def plans(self) -> Mapping[str, DesiredState]:
        """The desired state of every model; empty while the store cannot be read."""
        try:
            return await asyncio.to_thread(self.catalogue.read_plans)
        except ModelpadError as error:
            log.warning("cannot read the store: %s", error.message)
        except Exception:
            log.exception("cannot read the store")
        return {}

    async def override(self, action: str, name: str) -> None:
        """Loads or unloads a model, for an admin.

        Raises:
            ModelNotFound: the catalogue has no such name, or it is not served.
            ModelFailed: none of its versions can be loaded.
            StoreError: the store cannot be read.
        """
        async with self._opening:
            if action == UNLOAD:
                self._host.require_models().find_versions(name)
                self.catalogue.overrides.note(UNLOAD, name)
                self._retire_all(self._host.require_models().remove(name).versions)
            else:
                await self._open(name)

    async def _open(self, name: str) -> None:
        plans = await asyncio.to_thread(self.catalogue.read_all)
        plan = plans.get(name)
        if plan is None:
            raise ModelNotFound(
                f"There is no model {name!r}.", hint=suggest_name(name, plans), known=sorted(plans)
            )
        for version in plan.versions:
            self.failed.pop((name, version), None)
        versions = await self._open_missing(name, plan)
        if not versions:
            reasons = [self.catalogue.read_failure(name, each) for each in plan.versions]
            raise ModelFailed(f"{name} cannot be loaded: {'; '.join(filter(None, reasons))}")
        self.catalogue.overrides.note(LOAD, name)
        self.apply(name, plan, versions)

    async def prepare(self, name: str, plan: DesiredState) -> frozenset[int]:
        """Loads the versions that a plan lacks; returns all that are loaded."""
        async with self._opening:
            return await self._open_missing(name, plan)

    async def _open_missing(self, name: str, plan: DesiredState) -> frozenset[int]:
        current = self._host.require_models().served.get(name)
        have = set(current.versions if current is not None else ()) | set(
            self._beside.get(name, ())
        )
        for version in sorted(plan.versions - have, reverse=True):
            model = await self._try(name, version)
            if model is not None:
                self._beside.setdefault(name, {})[version] = model
                have.add(version)
        return frozenset(have)

    def apply(self, name: str, plan: DesiredState, versions: Collection[int]) -> None:
        """Serves `versions` as planned, in one step; others are unloaded when idle."""
        table = self._host.require_models()
        current = table.served.get(name)
        beside = self._beside.pop(name, {})
        served = dict(current.versions) if current is not None else {}
        have = {v: model for v, model in (served | beside).items() if v in versions}
        if not have or name in self.catalogue.overrides.unloaded:
            self._retire_all(beside)  # none could be loaded, or an admin has unloaded it
            return
        now = current.default if current is not None and current.default in have else max(have)
        default = plan.default_version if plan.default_version in have else now
        traffic = plan.traffic if set(plan.traffic) <= set(have) else {}
        shadow = plan.shadow if plan.shadow in have else None
        wanted = (plan.versions | {default}) & set(have)
        after = ServedVersions(
            name, {v: have[v] for v in sorted(wanted)}, default, plan.aliases, traffic, shadow
        )
        if current != after:
            table.put(after)
        if current is None or current.default != default:
            log.warning("%s: version %d is the default", name, default)
        self._retire_all({v: model for v, model in (served | beside).items() if v not in wanted})

    def _retire_all(self, models: Mapping[int, ServedModel]) -> None:
        for model in models.values():
            task = asyncio.create_task(self._retire(model))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    async def _try(self, name: str, version: int) -> ServedModel | None:
        if self.failed.get((name, version), 0.0) > time.monotonic():
            return None
        try:
            model = await self._open_in_time(name, version)
        except Exception as error:
            again_s = inf if isinstance(error, DeadlineExceeded) else RETRY_S
            self.failed[name, version] = time.monotonic() + again_s
            reason = f"{type(error).__name__}: {error}"
            log.error("%s: version %d failed to load: %s", name, version, reason)
            self._host.metrics.count_version_failure(model=name, version=version)
            await self._note(name, version, reason)
            return None
        self.failed.pop((name, version), None)
        if await asyncio.to_thread(self.catalogue.read_failure, name, version):
            await self._note(name, version, None)
        self._host.watch(model)
        return model

    async def _note(self, name: str, version: int, reason: str | None) -> None:
        try:
            await asyncio.to_thread(self.catalogue.record_failure, name, version, reason)
        except StoreError as error:
            log.warning(
                "%s: version %d: cannot record the failure: %s", name, version, error.message
            )

    async def _open_in_time(self, name: str, version: int) -> ServedModel:
        """Loads it in a separate thread, since a graph that hangs would block a thread of the pool.

        Raises as `_open_checked`, and `DeadlineExceeded`.
        """
        outcome: Future[ServedModel] = Future()
        outcome.set_running_or_notify_cancel()  # from now on, only the thread completes it

        def work() -> None:
            try:
                outcome.set_result(self._open_checked(name, version))
            except Exception as error:
                outcome.set_exception(error)

        threading.Thread(target=work, name=f"modelpad-open-{name}", daemon=True).start()
        opened = asyncio.wrap_future(outcome)
        try:
            await asyncio.wait([opened], timeout=OPEN_S)
            if opened.done():
                return opened.result()
            raise DeadlineExceeded(
                f"Loading it and predicting its samples took more than {OPEN_S:g} s.",
                hint="Its graph hangs, or is too slow to be served.",
                timeout_s=OPEN_S,
            )
        finally:
            if not opened.done():
                opened.cancel()
                outcome.add_done_callback(close_late)

    def _open_checked(self, name: str, version: int) -> ServedModel:
        model = self.catalogue.load(name, version)
        try:
            check_samples(model)
        except BaseException:
            model.batcher.close()
            raise
        return model

    async def _retire(self, model: ServedModel) -> None:
        """Unloads a version when its requests are finished, and frees its memory."""
        await model.batcher.drain(DRAIN_S)
        model.batcher.close()
        await asyncio.to_thread(model.batcher.join, DRAIN_S)
        model.batcher.session.close()
        release_memory()
        log.warning("%s: version %d was unloaded", model.name, model.version)


def close_late(outcome: Future[ServedModel]) -> None:
    """Closes a version that was loaded after the time-out."""
    if outcome.exception() is None:
        outcome.result().batcher.close()


def check_samples(model: ServedModel) -> None:
    """Predicts a new version's own samples.

    Raises:
        ModelFailed: most labels differ from those in the bundle.
        ModelpadError: a prediction fails.
    """
    session = model.batcher.session
    labels = [field.name for field in session.signature.outputs if field.kind == "label"]
    checked = wrong = 0
    for sample in model.bundle.manifest.samples:
        prediction = session.answer(session.bundle.sample_values(sample.inputs))
        if labels and sample.expected is not None:
            checked += 1
            label = prediction[labels[0]]
            wrong += not isinstance(label, dict) or label["label"] != sample.expected
    if wrong > checked / 2:
        raise ModelFailed(
            f"{wrong} of {checked} samples now have a different label than in the bundle.",
            hint="Its graph or its samples are not those of the trained model.",
        )
