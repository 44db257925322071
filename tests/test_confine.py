"""Work in a child process: its errors come back, its end is bounded, its files are removed."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from modelpad.confine import run_confined
from modelpad.errors import ConversionFailed, NotTrusted


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_work_is_done_elsewhere(tmp_path: Path, temporary: Path) -> None:
    def work() -> None:
        (tmp_path / "pid").write_text(str(os.getpid()))

    run_confined(work, "It")
    assert int((tmp_path / "pid").read_text()) != os.getpid()


def test_errors_come_back_as_they_were(temporary: Path) -> None:
    def fail() -> None:
        raise NotTrusted("It runs code.", hint="Use --trust.", found=["pickle"])

    with pytest.raises(NotTrusted, match=r"It runs code\.") as caught:
        run_confined(fail, "It")
    assert caught.value.hint == "Use --trust."
    assert caught.value.details == {"found": ["pickle"]}


def test_other_exceptions_are_named(temporary: Path) -> None:
    def fail() -> None:
        _ = 1 // 0

    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        run_confined(fail, "It")


def test_a_crash_is_an_error(temporary: Path) -> None:
    with pytest.raises(ConversionFailed, match=r"It crashed \(SIGKILL\)"):
        run_confined(lambda: os.kill(os.getpid(), signal.SIGKILL), "It")


@pytest.mark.parametrize("held", [False, True], ids=["sleeping", "holding the interpreter"])
def test_what_takes_too_long_is_killed(held: bool, temporary: Path) -> None:
    def hang() -> None:
        Path(tempfile.mkdtemp(), "left").write_text("behind")
        if held:
            pow(7, 10**9)
        time.sleep(600)

    begin = time.monotonic()
    with pytest.raises(ConversionFailed, match="longer than 1 seconds") as caught:
        run_confined(hang, "It", 1)
    assert "--timeout" in caught.value.hint
    assert time.monotonic() - begin < 30
    assert not list(temporary.iterdir())


def test_processes_that_it_started_end_with_it(
    tmp_path: Path, temporary: Path, wait_for: Any
) -> None:
    import subprocess

    def start() -> None:
        child = subprocess.Popen(["sleep", "600"])
        (tmp_path / "pid").write_text(str(child.pid))
        child.wait()

    with pytest.raises(ConversionFailed):
        run_confined(start, "It", 1)
    pid = (tmp_path / "pid").read_text()
    stat = Path(f"/proc/{pid}/stat")
    wait_for(lambda: not stat.exists() or stat.read_text().split()[2] == "Z")
