"""What was decided since the server was started: which names it serves, and by which version."""

from __future__ import annotations

from dataclasses import dataclass, field

OPEN, CLOSE = "open", "close"


@dataclass(slots=True)
class Orders:
    """Names to be served beside those that were asked for, and names not to be served.

    `live` are the versions that names mean in all workers. The supervisor keeps these too, so that
    a worker that replaces another begins with them.
    """

    opened: set[str] = field(default_factory=set)
    closed: set[str] = field(default_factory=set)
    live: dict[str, int] = field(default_factory=dict)

    def note(self, action: str, name: str) -> None:
        """One more: `OPEN` or `CLOSE`."""
        if action == OPEN:
            self.closed.discard(name)
            self.opened.add(name)
        else:
            self.opened.discard(name)
            self.closed.add(name)
