"""`modelpad samples`: the files work with the commands that are printed."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from PIL import Image


def test_the_commands_that_it_prints_work(run_modelpad: Any, tmp_path: Path) -> None:
    done = run_modelpad("samples", "my files")
    assert done.returncode == 0
    commands = [line for line in done.stdout.splitlines() if line.startswith("  modelpad")]
    first, *others = (run_modelpad(*shlex.split(line)[1:]) for line in commands)
    assert "  7  " in first.stdout
    assert all(each.returncode == 0 for each in others)
    assert (tmp_path / "predictions.csv").read_text().count("positive") == 2
    with Image.open(tmp_path / "my files" / "photo.jpg") as photo:
        assert photo.size == (512, 384)


def test_files_of_others_are_kept(run_modelpad: Any, tmp_path: Path) -> None:
    assert run_modelpad("samples").returncode == 0
    (tmp_path / "samples" / "seven.png").write_text("mine")
    done = run_modelpad("samples")
    assert (done.returncode, "--force" in done.stderr) == (2, True)
    assert (tmp_path / "samples" / "seven.png").read_text() == "mine"
    assert run_modelpad("samples", "--force").returncode == 0
