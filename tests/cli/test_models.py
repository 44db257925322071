"""`modelpad models`: the versions in the store, their aliases, traffic and state."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
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


def test_a_bundle_cannot_control_the_terminal(
    run_modelpad: Any, digits: Bundle, tmp_path: Path
) -> None:
    shutil.copytree(digits.folder, tmp_path / "bundle")
    path = tmp_path / "bundle" / "manifest.json"
    record = json.loads(path.read_text())
    record |= {"title": "\x1b[2J", "author": "\x1b]0;", "metrics": {"\x1b[31m": 1.0}}
    path.write_text(json.dumps(record))
    assert run_modelpad("models", "push", str(path.parent)).returncode == 0
    for words in (["list"], ["show", "digits"]):
        done = run_modelpad("models", *words)
        assert done.returncode == 0
        assert "\x1b" not in done.stdout


def test_verify_names_what_is_damaged(run_modelpad: Any, corrupt_store: None) -> None:
    done = run_modelpad("models", "verify")
    assert done.returncode == 1
    assert "model.onnx" in done.stdout + done.stderr


def test_a_version_is_signed_and_verified(run_modelpad: Any, digits: Bundle, keys: Path) -> None:
    assert run_modelpad("models", "push", str(digits.folder)).returncode == 0
    public = str(keys / "key.pub")
    unsigned = run_modelpad("models", "verify", "--key", public)
    assert unsigned.returncode == 1
    assert "digits@1 is not signed." in unsigned.stdout
    signed = run_modelpad("models", "sign", "digits", "--key", str(keys / "key.pem"))
    assert signed.stdout.startswith("Signed digits@1.\nNext: modelpad models verify digits@1 ")
    assert "and signed" in run_modelpad("models", "verify", "digits@1", "--key", public).stdout
    assert run_modelpad("models", "verify", "--key", str(keys / "other.pub")).returncode == 1
    assert run_modelpad("models", "pull", "digits", "copy").returncode == 0
    folder = run_modelpad("models", "sign", "copy", "--key", str(keys / "other.pem"))
    assert folder.stdout == "Signed copy.\nNext: modelpad models push copy\n"
    missing = run_modelpad("models", "sign", "digits", "--key", "missing.pem")
    assert missing.returncode == 2
    assert "missing.pem cannot be read" in missing.stderr
    assert "openssl ecparam" in missing.stderr


def test_serve_explains_keys_that_it_cannot_use(
    run_modelpad: Any, digits: Bundle, keys: Path
) -> None:
    private = run_modelpad("serve", MODELPAD_REQUIRE_SIGNATURE=str(keys / "key.pem"))
    assert private.returncode == 2
    assert "keep it where you sign" in private.stderr
    unsigned = run_modelpad("serve", "--require-signature", str(keys / "key.pub"))
    assert unsigned.returncode == 1
    assert "digits@1 is not signed" in unsigned.stderr
