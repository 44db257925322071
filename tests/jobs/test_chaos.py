"""Jobs are accounted for whatever is killed: each ends once, with its own result."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.jobs.chaos import MIN_KILLS, run_chaos

JOBS = 30


@pytest.mark.slow
@pytest.mark.long
def test_every_job_ends_once_whatever_is_killed(tmp_path: Path) -> None:
    outcome = run_chaos(tmp_path, JOBS, seed=1, limit_s=600)
    assert outcome.stored == JOBS
    assert set(outcome.states) <= {"done", "lost"}
    assert outcome.states["done"] > 0.8 * JOBS
    assert (outcome.ended_twice, outcome.wrong) == (0, 0)
    assert sum(outcome.killed.values()) >= MIN_KILLS
