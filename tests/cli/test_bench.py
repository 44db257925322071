"""`modelpad bench`: a model is served and measured."""

from __future__ import annotations

import json
from typing import Any

from modelpad.cli.bench import LoadResult, format_table


def test_bench_measures_a_model(run_modelpad: Any) -> None:
    done = run_modelpad("bench", "digits", "--seconds", "0.3", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert [row["connections"] for row in record["loads"]] == [1, 16, 64]
    assert all(row["answers_per_s"] > 0 and row["failed"] == 0 for row in record["loads"])
    assert run_modelpad("bench", "nothing").returncode == 1
    assert run_modelpad("bench", "digits", "--seconds", "0").returncode == 2


def test_each_load_is_a_line() -> None:
    header, line = format_table([LoadResult(16, 12345, 1.25, 3.5, 0)])
    assert header.split() == ["clients", "requests/s", "p50", "ms", "p99", "ms", "failed"]
    assert line.split() == ["16", "12,345", "1.25", "3.50", "0"]
