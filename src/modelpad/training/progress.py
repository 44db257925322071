"""A progress bar with the time left: redrawn on a terminal, one line per epoch elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TextIO

CELLS = 20
REDRAW_S = 0.2


class ProgressBar:
    """A run's progress bar. Epochs count from 0; a resumed run starts at `first_epoch`."""

    def __init__(
        self,
        out: TextIO,
        epochs: int,
        first_epoch: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._out, self._clock = out, clock
        self._epochs, self._first_epoch = epochs, first_epoch
        self._redraws = out.isatty()
        self._start, self._drawn = clock(), float("-inf")

    def update(self, epoch: int, step: int, steps: int, numbers: Mapping[str, float]) -> None:
        """Redraws the bar, on a terminal and at most five times a second."""
        now = self._clock()
        if self._redraws and now - self._drawn > REDRAW_S:
            self._drawn = now
            self._draw(epoch, step / steps, numbers, end="")

    def end_epoch(self, epoch: int, numbers: Mapping[str, float]) -> None:
        """Prints the epoch's final line."""
        self._draw(epoch, 1.0, numbers, end="\n")

    def _draw(self, epoch: int, share: float, numbers: Mapping[str, float], end: str) -> None:
        done = epoch - self._first_epoch + share
        total = self._epochs - self._first_epoch
        left_s = max(0.0, (self._clock() - self._start) / done * (total - done)) if done else 0.0
        filled = round(CELLS * share)
        bar = "█" * filled + "░" * (CELLS - filled)
        parts = [f"{name} {value:.4f}" for name, value in numbers.items() if name != RATE]
        parts += [f"rate {numbers[RATE]:.2g}"] if RATE in numbers else []
        line = f"epoch {epoch + 1}/{self._epochs} {bar} {'  '.join(parts)}"
        line += f"  {left_s // 60:.0f}:{left_s % 60:02.0f} left"
        self._out.write(("\r\033[K" if self._redraws else "") + line + end)
        self._out.flush()


RATE = "learning_rate"
