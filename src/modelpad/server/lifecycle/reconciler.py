"""The server follows the store: new versions come in beside the old ones, and leave when idle.

A version is opened and asked its own samples before any request gets it; one that fails stays out,
and what is served stays as it is. Nothing is taken away because a store cannot be read.

A change has two steps, so that several processes can make it together: `prepare` opens what is
missing, `apply` changes what requests get.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from math import inf
from typing import TYPE_CHECKING

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
from modelpad.server.models import ServedModel, ServedVersions

if TYPE_CHECKING:
    from modelpad.server.app import App
    from modelpad.server.lifecycle.catalogue import Catalogue
    from modelpad.store import DesiredState

log = logging.getLogger("modelpad.server")

RETRY_S = 60.0
OPEN_S = 300.0  # for a version to be opened and to answer its samples; then it is not tried again
DRAIN_S = 60.0


class Reconciler:
    """Keeps an app's models as a catalogue's plans say; looks every `interval_s`, 0 for never."""

    def __init__(self, app: App, catalogue: Catalogue, interval_s: float = 2.0) -> None:
        self.app = app
        self.catalogue = catalogue
        self.interval_s = interval_s
        self.failed: dict[tuple[str, int], float] = {}
        self._beside: dict[str, dict[int, ServedModel]] = {}  # opened, and not served yet
        self._retiring: set[asyncio.Task[None]] = set()
        self._opening = asyncio.Lock()  # commands and changes are carried out as they come

    async def run(self) -> None:
        """Looks again and again, until it is cancelled."""
        while self.interval_s:
            await asyncio.sleep(self.interval_s)
            await self.reconcile()

    async def stop(self) -> None:
        """Waits for those that leave."""
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)

    async def reconcile(self) -> None:
        """Brings the app's models to what the plans say, once."""
        for name, plan in (await self.plans()).items():
            try:
                async with self._opening:
                    self.apply(name, plan, await self._open_missing(name, plan))
            except Exception:
                log.exception("%s cannot be followed", name)

    async def plans(self) -> Mapping[str, DesiredState]:
        """What the store wants; nothing while it cannot be read."""
        try:
            return await asyncio.to_thread(self.catalogue.read_plans)
        except ModelpadError as error:
            log.warning("the store cannot be followed: %s", error.message)
        except Exception:
            log.exception("the store cannot be followed")
        return {}

    async def override(self, action: str, name: str) -> None:
        """Begins or ends to serve a name, as an admin orders.

        Raises:
            ModelNotFound: the catalogue has no such name, or it is not served.
            ModelFailed: none of its versions can be opened.
            StoreError: the store cannot be read.
        """
        async with self._opening:
            if action == UNLOAD:
                self.app.require_models().find_line(name)
                self.catalogue.overrides.note(UNLOAD, name)
                self._retire_all(self.app.require_models().remove(name).versions)
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
            raise ModelFailed(f"{name} cannot be opened: {'; '.join(filter(None, reasons))}")
        self.catalogue.overrides.note(LOAD, name)
        self.apply(name, plan, versions)

    async def prepare(self, name: str, plan: DesiredState) -> frozenset[int]:
        """Opens the versions that a plan wants and that are not open; answers all that are."""
        async with self._opening:
            return await self._open_missing(name, plan)

    async def _open_missing(self, name: str, plan: DesiredState) -> frozenset[int]:
        line = self.app.require_models().lines.get(name)
        have = set(line.versions if line is not None else ()) | set(self._beside.get(name, ()))
        for version in sorted(plan.versions - have, reverse=True):
            model = await self._try(name, version)
            if model is not None:
                self._beside.setdefault(name, {})[version] = model
                have.add(version)
        return frozenset(have)

    def apply(self, name: str, plan: DesiredState, versions: Collection[int]) -> None:
        """Serves `versions` as the plan says, in one step; others leave when they are idle."""
        table = self.app.require_models()
        line = table.lines.get(name)
        beside = self._beside.pop(name, {})
        served = dict(line.versions) if line is not None else {}
        have = {v: model for v, model in (served | beside).items() if v in versions}
        if not have or name in self.catalogue.overrides.unloaded:
            self._retire_all(beside)  # it cannot be opened, or was closed while this was prepared
            return
        now = line.live if line is not None and line.live in have else max(have)
        live = plan.default_version if plan.default_version in have else now
        traffic = plan.traffic if set(plan.traffic) <= set(have) else {}
        shadow = plan.shadow if plan.shadow in have else None
        wanted = (plan.versions | {live}) & set(have)
        after = ServedVersions(
            name, {v: have[v] for v in sorted(wanted)}, live, plan.aliases, traffic, shadow
        )
        if line != after:
            table.put(after)
        if line is None or line.live != live:
            log.warning("%s: version %d is live", name, live)
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
            log.error("%s: version %d stays out: %s", name, version, reason)
            self.app.metrics.count_version_failure(model=name, version=version)
            await self._note(name, version, reason)
            return None
        self.failed.pop((name, version), None)
        if await asyncio.to_thread(self.catalogue.read_failure, name, version):
            await self._note(name, version, None)
        self.app.watch(model)
        return model

    async def _note(self, name: str, version: int, reason: str | None) -> None:
        try:
            await asyncio.to_thread(self.catalogue.note_failure, name, version, reason)
        except StoreError as error:
            log.warning("%s: version %d: no note of it is kept: %s", name, version, error.message)

    async def _open_in_time(self, name: str, version: int) -> ServedModel:
        """Opens it in a thread of its own: a graph that hangs would keep one of the pool's.

        Raises as `_open_checked`, and `DeadlineExceeded`.
        """
        outcome: Future[ServedModel] = Future()
        outcome.set_running_or_notify_cancel()  # from now on only the thread ends it

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
                f"It was not opened, with its samples answered, within {OPEN_S:g} s.",
                hint="Its graph hangs, or is far too slow to be served.",
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
        """Closes a version when what it began is answered; its memory goes with it."""
        await model.batcher.drain(DRAIN_S)
        model.batcher.close()
        await asyncio.to_thread(model.batcher.join, DRAIN_S)
        model.batcher.session.close()
        release_memory()
        log.warning("%s: version %d has left", model.name, model.version)


def close_late(outcome: Future[ServedModel]) -> None:
    """Closes what was opened when nobody waits for it any more."""
    if outcome.exception() is None:
        outcome.result().batcher.close()


def check_samples(model: ServedModel) -> None:
    """Asks a new version its own samples.

    Raises:
        ModelFailed: most of its labels are not those that the bundle says.
        ModelpadError: it cannot answer one.
    """
    session = model.batcher.session
    labels = [field.name for field in session.signature.outputs if field.kind == "label"]
    told = wrong = 0
    for sample in model.bundle.manifest.samples:
        answer = session.answer(session.sample_values(sample.inputs))
        if labels and sample.expected is not None:
            told += 1
            label = answer[labels[0]]
            wrong += not isinstance(label, dict) or label["label"] != sample.expected
    if wrong > told / 2:
        raise ModelFailed(
            f"{wrong} of {told} samples are not answered as the bundle says.",
            hint="Its graph or its samples are not those of the trained model.",
        )
