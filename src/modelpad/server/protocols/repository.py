"""Triton's model repository extension: which models exist, which are served.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from modelpad.errors import InvalidInput, NotFound, Unsupported

if TYPE_CHECKING:
    from modelpad.foreign_json import Json
    from modelpad.server.host import ModelHost

READY, UNAVAILABLE = "READY", "UNAVAILABLE"
MAX_QUOTED_CHARS = 200  # of a client's model name, in an error


class Entry(msgspec.Struct, frozen=True):
    """One version of a model, and whether it is served; `reason` says why not."""

    name: str
    version: str
    state: str
    reason: str = ""


async def list_entries(host: ModelHost, *, ready: bool) -> list[Entry]:
    """Every version that is served or could be; with `ready`, only those served.

    Raises `StoreError`.
    """
    catalogue = None if host.reconciler is None else host.reconciler.catalogue
    plans = {} if catalogue is None else await asyncio.to_thread(catalogue.read_all)
    served = host.require_models().served
    entries = []
    for name in sorted(served.keys() | plans.keys()):
        loaded = set(served[name].versions) if name in served else set()
        known = loaded | set(plans[name].versions if name in plans else ())
        for version in sorted(known):
            if version in loaded:
                entries.append(Entry(name, str(version), READY))
            elif not ready:
                failed = "" if catalogue is None else catalogue.read_failure(name, version)
                entries.append(Entry(name, str(version), UNAVAILABLE, failed or "unloaded"))
    return entries


async def override(host: ModelHost, action: str, name: str, parameters: object = None) -> None:
    """Loads or unloads a model, for an admin; `parameters` are those of a request to load.

    Raises:
        Unsupported: a configuration or files came with the request.
        NotFound: there is no such model. Otherwise as `ModelHost.override`.
    """
    failed = f"failed to {action} {name[:MAX_QUOTED_CHARS]!r}:"
    if parameters:
        raise Unsupported(
            f"{failed} modelpad takes no configuration and no files over the network.",
            hint="Load the model without parameters.",
        )
    try:
        await host.override(action, name)
    except NotFound as error:
        raise NotFound(f"{failed} {error.message}", hint=error.hint) from error


def read_object(record: Json) -> dict[str, Json]:
    """The body of a request to the repository. Raises `InvalidInput`."""
    if not isinstance(record, dict):
        raise InvalidInput("The body is not a JSON object.", expected='{} or {"ready": true}')
    return record
