"""Trainings in processes of their own, which a signal can end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def start_training(folder: Path, recipe: str, *options: str) -> subprocess.Popen[str]:
    """`modelpad train` with its runs and its store in a folder."""
    command = [sys.executable, "-m", "modelpad", "train", recipe, "--json", *options]
    return subprocess.Popen(
        [*command, "--runs", str(folder / "runs"), "--store", str(folder / "store")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )


def stop_after(process: subprocess.Popen[str], beginning: str, how: int) -> None:
    """Sends the signal `how` once a line of progress begins like that."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if line.startswith(beginning):
            break
    else:
        raise AssertionError(f"No line began with {beginning!r}: {''.join(seen)}")
    assert process.poll() is None, "The training had ended before the signal."
    process.send_signal(how)
