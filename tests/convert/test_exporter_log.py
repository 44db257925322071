"""What exporters print goes to a file, whichever way they print it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pytest

from modelpad.convert.exporter_log import exporter_log
from modelpad.errors import ConversionFailed

NOISE = """
import logging, os, sys, warnings
from modelpad.convert.exporter_log import exporter_log

logging.basicConfig(level=logging.INFO)
print("before")
with exporter_log("test") as log:
    print("printed")
    print("an error", file=sys.stderr)
    os.write(1, b"native\\n")
    os.system("echo child")
    warnings.warn("warned")
    logging.getLogger("library").warning("logged")
    path = log
print("after", path.exists())
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_nothing_is_printed_and_the_file_is_deleted() -> None:
    done = subprocess.run([sys.executable, "-c", NOISE], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("before\nafter False\n", "")


def fail_loudly() -> None:
    print("printed")
    os.write(2, b"native\n")
    warnings.warn("warned", stacklevel=1)
    logging.getLogger("library").warning("logged")
    raise ConversionFailed("It failed.", hint="Try again.")


def test_a_failure_names_the_log_of_everything_printed(folder: Path) -> None:
    with pytest.raises(ConversionFailed) as caught, exporter_log("test"):
        fail_loudly()
    log = Path(str(caught.value.details["log"]))
    assert caught.value.hint == f"Try again. The exporter's log: {log}"
    assert log.parent == folder
    assert {"printed", "native", "logged"} <= set(log.read_text().splitlines())


def test_an_empty_log_is_not_mentioned(folder: Path) -> None:
    with pytest.raises(ConversionFailed) as caught, exporter_log("test"):
        raise ConversionFailed("It failed.", hint="Try again.")
    assert caught.value.hint == "Try again."
    assert not list(folder.iterdir())


def test_the_log_outlives_a_confined_import(folder: Path) -> None:
    from modelpad.confine import run_confined

    def work() -> None:
        with exporter_log("test"):
            print("printed")
            raise ConversionFailed("It failed.", hint="Try again.")

    with pytest.raises(ConversionFailed) as caught:
        run_confined(work, "Importing it")
    log = Path(str(caught.value.details["log"]))
    assert log.read_text() == "printed\n"
    assert [path.name for path in folder.iterdir()] == [log.name]


def test_handlers_made_meanwhile_still_work(capsys: pytest.CaptureFixture[str]) -> None:
    made = logging.getLogger("made-by-an-exporter")
    with exporter_log("test"):
        made.addHandler(logging.StreamHandler())
    made.propagate = False
    made.warning("later")
    assert "closed file" not in capsys.readouterr().err
