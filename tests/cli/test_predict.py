"""`modelpad predict`: a line or a record of JSON for each file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from modelpad.bundle import Bundle


def test_predict_answers_a_line_a_file(run_modelpad: Any, digits: Bundle) -> None:
    files = [str(digits.path(f"samples/{number}.png")) for number in range(3)]
    done = run_modelpad("predict", "digits", *files)
    assert done.returncode == 0
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == files
    assert [line[1] for line in lines] == ["0", "1", "2"]
    assert all(line[3] == "%" for line in lines)


def test_predict_json_has_all_scores(run_modelpad: Any, seven: str) -> None:
    answer = json.loads(run_modelpad("predict", "digits", seven, "--json").stdout)
    assert answer["label"] == "7"
    assert len(answer["scores"]) == 10


def test_predict_goes_on_after_a_bad_file(run_modelpad: Any, seven: str, tmp_path: Path) -> None:
    (tmp_path / "no.png").write_text("text")
    done = run_modelpad("predict", "digits", "no.png", "missing.png", seven)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1
    assert "no.png" in done.stderr
    assert "missing.png" in done.stderr
