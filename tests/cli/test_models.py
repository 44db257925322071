"""`modelpad models`: the versions in the store, their aliases, traffic and state."""

from __future__ import annotations

import json
from typing import Any

from modelpad.bundle import Bundle


def test_models_lists_shows_and_rolls_back(run_modelpad: Any, digits: Bundle) -> None:
    assert "empty" in run_modelpad("models").stdout
    for _ in range(2):
        assert run_modelpad("models", "push", str(digits.folder)).returncode == 0
    listed = json.loads(run_modelpad("models", "--json").stdout)["models"]
    assert [row["version"] for row in listed] == [1, 2]
    assert "test accuracy" in run_modelpad("models", "list").stdout
    assert [row["traffic"] for row in listed] == [0, 100]
    assert run_modelpad("models", "traffic", "digits", "1=75", "2=25").returncode == 0
    assert run_modelpad("models", "shadow", "digits", "2").returncode == 0
    lines = run_modelpad("models").stdout.splitlines()
    assert "  75 %  " in lines[1]
    assert "  25 %, shadow  " in lines[2]
    assert run_modelpad("models", "alias", "digits", "production", "2").returncode == 0
    assert "version 1" in run_modelpad("models", "rollback", "digits").stdout
    assert "version 1" in run_modelpad("models", "show", "digits").stdout
    assert run_modelpad("models", "pull", "digits@2", "copy").returncode == 0
    assert run_modelpad("models", "pull", "digits@2", "copy").returncode == 1
    assert run_modelpad("predict", "./copy", str(digits.path("samples/7.png"))).returncode == 0
    assert run_modelpad("models", "remove", "digits@2").returncode == 0
    assert run_modelpad("models", "show", "digits@2").returncode == 1


def test_verify_names_what_is_damaged(run_modelpad: Any, corrupt_store: None) -> None:
    done = run_modelpad("models", "verify")
    assert done.returncode == 1
    assert "model.onnx" in done.stdout + done.stderr
