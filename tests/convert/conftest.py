"""A model goes the whole way: imported in a process, served in another, asked over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

Ask = Callable[[Mapping[str, Any]], dict[str, Any]]


@pytest.fixture
def served(run_import: Any, serve: Any, tmp_path: Path) -> Callable[..., Ask]:
    """Imports with the arguments given and serves: answers a function that asks over HTTP."""

    def go(*arguments: str, saved: str = "") -> Ask:
        name = saved or "model"
        if arguments:
            done = run_import(*arguments, "--name", name)
            assert done.returncode == 0, done.stderr
            assert "Parity on" in done.stdout
        running = serve(name, store=tmp_path / "store")

        def ask(inputs: Mapping[str, Any]) -> dict[str, Any]:
            response = httpx.post(f"{running.url}/predict/{name}", json=dict(inputs), timeout=30)
            assert response.status_code == 200, response.text
            answer: dict[str, Any] = json.loads(response.text)
            return answer

        return ask

    return go


@pytest.fixture
def assert_close() -> Callable[[Any, Any], None]:
    """Numbers served are those of the framework, to five digits."""

    def check(answer: Any, expected: Any) -> None:
        if isinstance(answer, dict):
            answer = [answer["scores"][name] for name in sorted(answer["scores"])]
        np.testing.assert_allclose(np.asarray(answer), np.asarray(expected), atol=2e-5, rtol=1e-4)

    return check
