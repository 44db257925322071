"""Triton's model repository extension: what there is, and loading and unloading it.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from modelpad.errors import InvalidInput
from modelpad.server.http import Response, parse_json, respond_json

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


async def list_entries(app: App) -> list[Entry]:
    """Every version that is served or could be. Raises `StoreError`."""
    catalogue = None if app.follower is None else app.follower.catalogue
    plans = {} if catalogue is None else await asyncio.to_thread(catalogue.read_all)
    lines = app.opened().lines
    entries = []
    for name in sorted(lines.keys() | plans.keys()):
        served = set(lines[name].versions) if name in lines else set()
        known = served | set(plans[name].versions if name in plans else ())
        for version in sorted(known):
            if version in served:
                entries.append(Entry(name, str(version), READY))
            else:
                failed = "" if catalogue is None else catalogue.read_failure(name, version)
                entries.append(Entry(name, str(version), UNAVAILABLE, failed or "unloaded"))
    return entries


def write_index(entries: list[Entry], body: bytes) -> Response:
    """The entries; only those that are ready when the request's body says so."""
    asked = parse_json(body) if body.strip() else {}
    if not isinstance(asked, dict):
        raise InvalidInput("The body is no object.", expected='{} or {"ready": true}')
    ready = bool(asked.get("ready"))
    return respond_json([asdict(each) for each in entries if each.state == READY or not ready])
