"""`modelpad doctor`."""

from __future__ import annotations

import json
from typing import Any


def test_doctor_finds_this_machine_well(run_modelpad: Any) -> None:
    done = run_modelpad("doctor", "--json")
    assert done.returncode == 0, done.stdout
    assert all(row["state"] != "bad" for row in json.loads(done.stdout)["findings"])
