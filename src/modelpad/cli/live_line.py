"""One line on a terminal that changes while work goes on; nothing is written elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from modelpad.training.data_progress import format_seconds
from modelpad.training.progress import find_width

REDRAW_S = 0.1


class LiveLine:
    """The line; `clear` it before anything else is printed."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self.is_live = out.isatty()
        self._out, self._clock = out, clock
        self._begun, self._shown = clock(), float("-inf")
        self._width = 0

    @property
    def seconds(self) -> float:
        """The time since the work began."""
        return self._clock() - self._begun

    def show(self, text: str, share: float = 0) -> None:
        """Shows `text`, and the time left after the `share` that is done, if it is time to."""
        now = self._clock()
        if not self.is_live or now - self._shown < REDRAW_S:
            return
        self._shown = now
        if share > 0:
            text += f", {format_seconds(self.seconds * (1 / share - 1))} left"
        text = text[: find_width(self._out) - 1]  # a longer one would wrap
        self._out.write("\r" + text.ljust(self._width))
        self._out.flush()
        self._width = len(text)

    def clear(self) -> None:
        """Removes the line."""
        if self._width:
            self._out.write("\r" + " " * self._width + "\r")
            self._out.flush()
            self._width, self._shown = 0, float("-inf")
