"""When to replace a worker that died: at once, unless workers keep dying soon after they start."""

from __future__ import annotations

from dataclasses import dataclass

STEADY_S = 5.0  # a worker that served for longer is replaced immediately
FIRST_DELAY_S = 1.0
MAX_DELAY_S = 30.0


@dataclass(slots=True)
class RestartBackoff:
    """The first replacement starts immediately, the next ones after 1, 2, 4, ... 30 seconds."""

    delay_s: float = 0.0
    start_at: float = 0.0

    def schedule(self, served_s: float, now: float) -> float:
        """Notes that a worker died after serving for `served_s`; returns the delay in seconds."""
        delay_s = 0.0 if served_s > STEADY_S else self.delay_s
        self.start_at = now + delay_s
        self.delay_s = min(MAX_DELAY_S, max(FIRST_DELAY_S, 2 * delay_s))
        return delay_s

    def may_start(self, now: float) -> bool:
        """Whether the delay is over."""
        return now >= self.start_at
