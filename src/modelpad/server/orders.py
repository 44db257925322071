"""What admins said, since the server was started, about which names it serves."""

from __future__ import annotations

from dataclasses import dataclass, field

OPEN, CLOSE = "open", "close"


@dataclass(slots=True)
class Orders:
    """Names to be served beside those that were asked for, and names not to be served.

    The supervisor keeps these too, so that a worker that replaces another begins with them.
    """

    opened: set[str] = field(default_factory=set)
    closed: set[str] = field(default_factory=set)

    def note(self, action: str, name: str) -> None:
        """One more: `OPEN` or `CLOSE`."""
        if action == OPEN:
            self.closed.discard(name)
            self.opened.add(name)
        else:
            self.opened.discard(name)
            self.closed.add(name)
