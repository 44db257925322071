"""Triton's model repository extension: what there is, and loading and unloading it.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelpad.errors import InvalidInput

if TYPE_CHECKING:
    from modelpad.server.app import App

READY, UNAVAILABLE = "READY", "UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Entry:
    """One version of a model, and whether it is served; else `reason` says why not."""

    name: str
    version: str
    state: str
    reason: str = ""


async def list_entries(app: App, *, ready: bool) -> list[Entry]:
    """Every version that is served or could be; those served alone where `ready`.

    Raises `StoreError`.
    """
    catalogue = None if app.reconciler is None else app.reconciler.catalogue
    plans = {} if catalogue is None else await asyncio.to_thread(catalogue.read_all)
    lines = app.require_models().lines
    entries = []
    for name in sorted(lines.keys() | plans.keys()):
        served = set(lines[name].versions) if name in lines else set()
        known = served | set(plans[name].versions if name in plans else ())
        for version in sorted(known):
            if version in served:
                entries.append(Entry(name, str(version), READY))
            elif not ready:
                failed = "" if catalogue is None else catalogue.read_failure(name, version)
                entries.append(Entry(name, str(version), UNAVAILABLE, failed or "unloaded"))
    return entries


def read_ready(asked: Any) -> bool:
    """Whether a request's JSON asks for those alone that are ready. Raises `InvalidInput`."""
    if not isinstance(asked, dict):
        raise InvalidInput("The body is no object.", expected='{} or {"ready": true}')
    return bool(asked.get("ready"))
