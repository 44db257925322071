"""The progress bar in a real pseudo-terminal of any width, and in a file."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import termios

import pytest

from modelpad.training.progress import ProgressBar, fit_line

NUMBERS = {"loss": 0.1234, "accuracy": 0.98765, "val_loss": 0.2345, "val_accuracy": 0.97654}
CLEAR = "\r\x1b[K"


def train_in_terminal(columns: int) -> str:
    """What a terminal of a width receives from two epochs of three steps."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    times = iter(range(100))
    with os.fdopen(slave, "w") as terminal:
        bar = ProgressBar(terminal, epochs=2, clock=lambda: next(times))
        for epoch in range(2):
            for step in range(3):
                bar.update(epoch, step, 3, NUMBERS)
            bar.end_epoch(epoch, NUMBERS)
        received = b""
        while received.count(b"\n") < 2:
            received += os.read(master, 1 << 16)
    os.close(master)
    return received.decode()


@pytest.mark.parametrize("columns", [40, 60, 80, 120, 200])
def test_a_line_is_redrawn_in_place(columns: int) -> None:
    received = train_in_terminal(columns)
    lines = received.split("\r\n")
    assert len(lines) == 3, "one line for each epoch"
    assert lines.pop() == ""
    drawn = [text for line in lines for text in line.split(CLEAR) if text]
    assert len(drawn) == 8
    assert max(map(len, drawn)) < columns, "a full line would wrap"
    assert all(text.startswith("epoch ") and text.endswith(" left") for text in drawn)


def test_a_wide_line_has_everything() -> None:
    drawn = train_in_terminal(200)
    assert "val_accuracy 0.9765" in drawn
    assert "█" in drawn


def test_a_file_gets_a_line_per_epoch() -> None:
    out = io.StringIO()
    bar = ProgressBar(out, epochs=1)
    bar.update(0, 1, 2, NUMBERS)
    bar.end_epoch(0, NUMBERS)
    assert out.getvalue().count("\n") == 1
    assert "val_accuracy 0.9765" in out.getvalue()


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (43, "epoch 1/2 █████░░░░░ loss 0.1000  0:10 left"),
        (38, "epoch 1/2 ██░░░ loss 0.1000  0:10 left"),
        (37, "epoch 1/2 loss 0.1000  0:10 left"),
        (30, "epoch 1/2 █████░░░░░ 0:10 left"),
        (12, "epoch 1/2 0:"),
    ],
)
def test_the_time_left_is_kept_longest(width: int, line: str) -> None:
    assert fit_line("epoch 1/2", 0.5, ["loss 0.1000", "0:10 left"], width) == line
