"""Tests of time-outs need not wait a second for each sweep."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def sweep_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelpad.server.http.server.SWEEP_S", 0.05)
