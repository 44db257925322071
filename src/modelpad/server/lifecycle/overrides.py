"""What admins changed since the server was started: models loaded and unloaded."""

from __future__ import annotations

import msgspec

LOAD, UNLOAD = "load", "unload"


class Overrides(msgspec.Struct):
    """Models loaded or unloaded at run time, in addition to the command line's.

    `versions` are the default versions in all workers. The supervisor keeps these too, for workers
    that replace others.
    """

    loaded: set[str] = msgspec.field(default_factory=set)
    unloaded: set[str] = msgspec.field(default_factory=set)
    versions: dict[str, int] = msgspec.field(default_factory=dict)

    def note(self, action: str, name: str) -> None:
        """Records an action: `LOAD` or `UNLOAD`."""
        if action == LOAD:
            self.unloaded.discard(name)
            self.loaded.add(name)
        else:
            self.loaded.discard(name)
            self.unloaded.add(name)
