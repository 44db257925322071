"""Prints the progress of work on a data set: one line that is rewritten on a terminal.

Off a terminal, and with `--json`, a download or unpacking prints a line when it starts and one when
it ends. Independent of what the work is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from modelpad.training.progress import find_width

if TYPE_CHECKING:
    from modelpad.datasets import ProgressUpdate

VERBS = {
    "download": ("Downloading", "Downloaded"),
    "unpack": ("Unpacking", "Unpacked"),
    "read": ("Reading", "Read"),
}
INTERVAL_S = 0.1
UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


class ProgressPrinter:
    """A `Progress` that prints to `stream`, which is standard error for a command.

    `live` rewrites one line several times a second; otherwise only start and end are printed, and
    nothing for reading. `now` returns seconds. As a context manager it ends a line that an error
    left unfinished.
    """

    def __init__(
        self, stream: TextIO, *, live: bool, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._live = live
        self._now = now
        self._current: tuple[str, str] | None = None
        self._started_s = 0.0
        self._started_done = 0
        self._printed_s = 0.0
        self._width = 0

    def __call__(self, update: ProgressUpdate) -> None:
        """Prints an update, if it is time to."""
        now_s = self._now()
        if self._current != (update.action, update.subject):
            self._current = (update.action, update.subject)
            self._started_s, self._started_done = now_s, update.done
            self._printed_s = -INTERVAL_S
            if not self._live and update.action != "read":
                self._print_line(describe_start(update))
        elapsed_s = now_s - self._started_s
        if update.finished:
            self._current = None
            if self._live:
                self._rewrite(describe_end(update, elapsed_s))
                self._print_line("")
                self._width = 0
            elif update.action != "read":
                self._print_line(describe_end(update, elapsed_s))
        elif self._live and elapsed_s - self._printed_s >= INTERVAL_S:
            self._printed_s = elapsed_s
            self._rewrite(describe(update, update.done - self._started_done, elapsed_s))

    def __enter__(self) -> ProgressPrinter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live and self._current is not None:
            self._print_line("")
            self._current = None

    def _rewrite(self, line: str) -> None:
        line = line[: find_width(self._stream) - 1]  # a longer one would wrap
        self._stream.write("\r" + line.ljust(self._width))
        self._stream.flush()
        self._width = len(line)

    def _print_line(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


def describe_start(update: ProgressUpdate) -> str:
    """`Downloading mnist (11.6 MB)`."""
    size = "" if update.total is None else f" ({format_amount(update.total, update.unit)})"
    return f"{VERBS[update.action][0]} {update.subject}{size}"


def describe(update: ProgressUpdate, gained: int, elapsed_s: float) -> str:
    """`Downloading mnist: 5.2 MB of 11.6 MB (45 %), 2.1 MB/s, 3 s left`."""
    done = format_amount(update.done, update.unit)
    rate = gained / elapsed_s if elapsed_s > 0 else 0.0
    if update.total:
        if update.unit != "bytes":
            done = f"{update.done:,}"
        total = format_amount(update.total, update.unit)
        done += f" of {total} ({100 * update.done / update.total:.0f} %)"
    parts = [f"{VERBS[update.action][0]} {update.subject}: {done}"]
    if rate > 0:
        parts.append(f"{format_amount(rate, update.unit)}/s")
        if update.total:
            parts.append(f"{format_seconds((update.total - update.done) / rate)} left")
    return ", ".join(parts)


def describe_end(update: ProgressUpdate, elapsed_s: float) -> str:
    """`Downloaded mnist: 11.6 MB in 6 s`."""
    amount = format_amount(update.done, update.unit)
    return f"{VERBS[update.action][1]} {update.subject}: {amount} in {format_seconds(elapsed_s)}"


def format_amount(amount: float, unit: str) -> str:
    """Bytes as `11.6 MB`, anything else as `3,861 images`."""
    return format_bytes(amount) if unit == "bytes" else f"{amount:,.0f} {unit}"


def format_bytes(count: float) -> str:
    """`712 bytes`, `4.5 kB`, `11.6 MB`, `1.2 GB`."""
    for name, size in UNITS:
        if count >= size:
            return f"{count / size:.1f} {name}"
    return f"{count:.0f} bytes"


def format_seconds(seconds: float) -> str:
    """`7 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
