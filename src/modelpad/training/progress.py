"""A progress bar with the time left: redrawn on a terminal, one line per epoch elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

CELLS = 20
REDRAW_S = 0.2
DEFAULT_WIDTH = 80
RATE = "learning_rate"


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
        parts = [f"{name} {value:.4f}" for name, value in numbers.items() if name != RATE]
        parts += [f"rate {numbers[RATE]:.2g}"] if RATE in numbers else []
        parts.append(f"{left_s // 60:.0f}:{left_s % 60:02.0f} left")
        # A line as wide as the terminal would wrap, so that the next one could not replace it.
        width = find_width(self._out) - 1 if self._redraws else sys.maxsize
        line = fit_line(f"epoch {epoch + 1}/{self._epochs}", share, parts, width)
        self._out.write(("\r\033[K" if self._redraws else "") + line + end)
        self._out.flush()


def fit_line(head: str, share: float, parts: Sequence[str], width: int) -> str:
    """The head, a bar, and the parts, in at most `width` characters.

    In a narrow terminal the bar is shorter, or missing; then parts are missing, all but the last.
    """
    for cells in (CELLS, CELLS // 2, CELLS // 4, 0):
        filled = round(cells * share)
        bar = " " * bool(cells) + "█" * filled + "░" * (cells - filled)
        line = f"{head}{bar} {'  '.join(parts)}"
        if len(line) <= width:
            return line
    return (
        line[:width] if len(parts) <= 1 else fit_line(head, share, [*parts[:-2], parts[-1]], width)
    )


def find_width(out: TextIO) -> int:
    """The columns of a terminal; 80 if it does not know."""
    try:
        return os.get_terminal_size(out.fileno()).columns or DEFAULT_WIDTH
    except (OSError, ValueError):
        return DEFAULT_WIDTH
