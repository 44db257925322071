"""Handling of Ctrl-C before, during and after the training loop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from types import FrameType
from typing import TextIO


class Phase(Enum):
    """The phase of a run."""

    PREPARING = "preparing"
    TRAINING = "training"
    FINISHING = "finishing"


class Interrupts:
    """Ctrl-C stops preparation and training, but not the testing and saving that follow.

    A second Ctrl-C stops those too. Outside the main thread, and where the process ignores
    interrupts, signal handling is left unchanged. `asks_first`: training goes on until whoever sees
    `is_pending` stops it.
    """

    def __init__(self, out: TextIO, *, asks_first: bool = False) -> None:
        self.phase = Phase.PREPARING
        self._out, self._asks_first = out, asks_first
        self._warned = False
        self._held, self._pending = False, False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Installs the handler while the block runs."""
        if (
            threading.current_thread() is not threading.main_thread()
            or signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        ):
            yield
            return
        previous = signal.signal(signal.SIGINT, self._handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)

    def hold(self) -> None:
        """Defers a Ctrl-C until `release`, so that every epoch shown is also saved."""
        self._held = True

    def is_pending(self) -> bool:
        """Whether a Ctrl-C was deferred."""
        return self._pending

    def release(self) -> None:
        """Raises `KeyboardInterrupt` if a Ctrl-C was deferred."""
        self._held = False
        if self._pending and not self._asks_first:
            self._pending = False
            raise KeyboardInterrupt

    def finish(self) -> None:
        """Marks training as finished: from now on only a second Ctrl-C stops the run."""
        self.phase = Phase.FINISHING
        self._held = self._pending = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        asks = self._asks_first and self.phase is Phase.TRAINING
        if asks or (self._held and not self._pending):
            self._pending = True
            return
        if self.phase is not Phase.FINISHING or self._warned:
            raise KeyboardInterrupt
        self._warned = True
        with suppress(RuntimeError):  # the signal may have interrupted a write to the same stream
            self._out.write(
                "\nTraining has finished; the model is being tested and saved."
                " Press Ctrl-C again to stop now, and finish later with --resume.\n"
            )
            self._out.flush()
