"""Schemathesis against /openapi.json: no defect of ours, no answer that is not documented."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance"
CHECKS += ",response_schema_conformance"


@pytest.mark.skipif(find_spec("schemathesis") is None, reason="schemathesis is not installed")
def test_every_answer_is_documented(protocols: str) -> None:
    schemathesis = [sys.executable, "-m", "schemathesis.cli", "run"]
    options = ["--checks", CHECKS, "--max-examples", "40", "--no-color", "--seed", "1"]
    done = subprocess.run(
        [*schemathesis, f"http://{protocols}/openapi.json", *options],
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-500:]
    assert "generated" in done.stdout
