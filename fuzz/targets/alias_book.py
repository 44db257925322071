"""A model's `aliases.json` in the store."""

from __future__ import annotations

from fuzz.files import make_folder
from modelpad.store import LocalStore

DECODERS = ("modelpad.store.aliases", "modelpad.store.local")
STORE = LocalStore(make_folder())
for version in (1, 2):
    (STORE.root / "model" / str(version)).mkdir(parents=True)


def fuzz(data: bytes) -> None:
    """Works out what a server should load."""
    (STORE.root / "model" / "aliases.json").write_bytes(data)
    plan = STORE.desired_state("model", 2)
    assert plan.versions <= {1, 2}, plan
    assert sum(plan.traffic.values()) in (0, 100)
    STORE.resolve("model@" + data[:30].decode("utf-8", "replace"))
