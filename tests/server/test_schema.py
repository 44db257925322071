"""Schemathesis against /openapi.json: no defect of ours, no answer that is not documented."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from modelpad.server.routes import ROUTES

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance"
CHECKS += ",response_schema_conformance"
# They always answer 501, which is no defect.
DECLINED = "/v2/(.*/)?(systemsharedmemory|cudasharedmemory|trace|logging)"


def test_every_route_is_described(protocols: str) -> None:
    """The typed API once for each model, as each has fields of its own."""
    paths = httpx.get(f"http://{protocols}/openapi.json").json()["paths"]
    typed = {"/predict/{model}", "/predict", "/invocations"}
    told = {(method.upper(), path) for path, each in paths.items() for method in each}
    assert {
        (route.method, route.endpoint) for route in ROUTES if route.endpoint not in typed
    } <= told
    models = {"digits", "echo", "half_plus_two", "mix", "pick"}
    assert {("POST", f"/predict/{model}") for model in models} <= told
    names = [each["operationId"] for methods in paths.values() for each in methods.values()]
    assert len(set(names)) == len(names)


@pytest.mark.skipif(find_spec("schemathesis") is None, reason="schemathesis is not installed")
@pytest.mark.slow
@pytest.mark.long
def test_every_answer_is_documented(protocols: str, tmp_path: Path) -> None:
    schemathesis = [sys.executable, "-m", "schemathesis.cli", "run"]
    options = ["--checks", CHECKS, "--max-examples", "12", "--no-color", "--seed", "1"]
    options += ["--exclude-path-regex", DECLINED]
    done = subprocess.run(
        [*schemathesis, f"http://{protocols}/openapi.json", *options],
        capture_output=True,
        text=True,
        timeout=280,
        cwd=tmp_path,  # it leaves a folder there
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-500:]
    assert "generated" in done.stdout
