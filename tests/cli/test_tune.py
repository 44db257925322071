"""`modelpad tune`: its output, what it refuses, and that a killed search goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from modelpad.cli.main import main

pytest.importorskip("optuna")

SMALL = ("digits", "--arch", "mlp", "--data", "uci-digits", "--limit", "300", "--epochs", "2")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["style", "--trials", "3"], 2, "style has no search space"),
        (["digitz"], 2, "Did you mean digits?"),
        (["digits", "--trials", "0"], 2, "--trials is 0"),
        (["digits", "--timeout", "0"], 2, "--timeout is 0"),
        (["digits", "--set", "learning_rate=1e-2..1e-4"], 2, "not below"),
        (["digits", "--data", "./nowhere"], 1, "nowhere"),
        (["digits", "--data", "uci-digits", "--resume"], 1, "There is no search"),
    ],
)
def test_bad_usage_is_explained(
    words: list[str],
    code: int,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["tune", *words, "--store", "store"]) == code
    assert told in capsys.readouterr().err
    assert not (tmp_path / "store" / "digits").exists()


@pytest.mark.slow
def test_it_prints_the_trials_and_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("keras")
    monkeypatch.chdir(tmp_path)
    asked = ["tune", *SMALL, "--store", "store", "--name", "mine", "--set", "batch-size=32..64"]
    assert main([*asked, "--trials", "2"]) == 0
    shown = capsys.readouterr()
    lines = [line for line in shown.err.splitlines() if line.startswith("trial ")]
    assert [line.split("  ")[0] for line in lines] == ["trial 1/2", "trial 2/2"]
    assert "learning_rate" not in lines[0]  # the first trial varies what --set names alone
    assert "batch_size" in lines[0]
    assert "modelpad train digits --data uci-digits --name mine --epochs 2" in shown.out
    assert "Saved as mine version 1. Report: runs/mine-mlp-search/search.html" in shown.out


@pytest.mark.slow
def test_a_killed_search_loses_no_trial(tmp_path: Path, run_modelpad: Any) -> None:
    pytest.importorskip("keras")
    asked = ["tune", *SMALL, "--trials", "4"]
    command = [sys.executable, "-m", "modelpad", *asked]
    log = (tmp_path / "log").open("wb")
    environment = os.environ | {"MODELPAD_STORE": str(tmp_path / "store")}
    process = subprocess.Popen(command, cwd=tmp_path, stderr=log, env=environment)
    journal = tmp_path / "runs" / "digits-mlp-search" / "trials.jsonl"
    deadline = time.monotonic() + 300
    try:
        while not journal.exists() or len(journal.read_text().splitlines()) < 3:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = journal.read_text().splitlines()[:3]
    assert not (tmp_path / "store" / "digits").exists()
    done = run_modelpad(*asked, "--resume", "--json")
    assert done.returncode == 0, done.stderr
    assert "Resuming after trial" in done.stderr
    assert journal.read_text().splitlines()[:3] == before
    found = json.loads(done.stdout)
    assert [each["number"] for each in found["trials"]] == [1, 2, 3, 4]
    assert found["best"]["loss"] == min(each["loss"] for each in found["trials"])
    assert (found["name"], found["version"], found["metric"]) == ("digits", 1, "val_loss")
    assert 0.3 < found["test_accuracy"] <= 1
