"""What was decided since the server was started: which names it serves, and by which version."""

from __future__ import annotations

from dataclasses import dataclass, field

LOAD, UNLOAD = "load", "unload"


@dataclass(slots=True)
class Overrides:
    """Names to be served beside those that were asked for, and names not to be served.

    `versions` are the versions that names mean in all workers. The supervisor keeps these too, so
    that a worker that replaces another begins with them.
    """

    loaded: set[str] = field(default_factory=set)
    unloaded: set[str] = field(default_factory=set)
    versions: dict[str, int] = field(default_factory=dict)

    def note(self, action: str, name: str) -> None:
        """One more: `LOAD` or `UNLOAD`."""
        if action == LOAD:
            self.unloaded.discard(name)
            self.loaded.add(name)
        else:
            self.loaded.discard(name)
            self.unloaded.add(name)
