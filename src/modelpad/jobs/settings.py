"""What the processes that run jobs are started with."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from modelpad.locations import StoreLocation, join_location


@dataclass(frozen=True, slots=True)
class WorkSettings:
    """Where things are, and what jobs may use.

    `folder` is the queue's, `store` gets the models that jobs train, `collections` has the data
    that clients have sent. At most `slots` jobs run at a time, each on `cores` CPUs (0: half of
    them) with at most `memory_bytes` (0: no limit).
    """

    folder: Path
    store: Path
    collections: Path
    slots: int = 1
    cores: int = 0
    memory_bytes: int = 0
    keep_s: float = 7 * 24 * 3600.0
    store_url: str = ""

    @property
    def location(self) -> StoreLocation:
        """Where the store is: in the folder `store`, or at `store_url` and cached there."""
        return join_location(self.store_url, self.store)

    def to_json(self) -> str:
        """One line, for a command line."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> WorkSettings:
        """What `to_json` wrote."""
        values = json.loads(text)
        paths = {name: Path(values[name]) for name in ("folder", "store", "collections")}
        return cls(**(values | paths))
