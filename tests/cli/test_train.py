"""`modelpad train`: what stops it before it begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_an_unwritable_store_stops_a_training_at_once(run_modelpad: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run_modelpad("train", "digits", "--store", str(tmp_path / "file" / "store"))
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
