"""Opening bundles: all damage is found and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from modelpad.bundle import Bundle, open_bundle
from modelpad.errors import BundleInvalid, ChecksumMismatch
from modelpad.foreign_json import as_object
from tests.bundle.golden_bundle import GOLDEN


def change_manifest(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def flip_byte(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"graqh")


def link_out(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").symlink_to("/etc/hostname")


ESCAPE = {"sha256": "0" * 64, "bytes": 1}
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "one byte changed": (flip_byte, "model.onnx"),
    "a file missing": (lambda folder: (folder / "samples/a.png").unlink(), "samples/a.png"),
    "a link": (link_out, "link"),
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), "manifest.json"),
    "broken JSON": (lambda folder: (folder / "manifest.json").write_text("{"), "not JSON"),
    "not an object": (lambda folder: (folder / "manifest.json").write_text("[]"), "object"),
    "a newer format": (lambda folder: change_manifest(folder, format=99), "99"),
    "no signature": (lambda folder: change_manifest(folder, signature={}), "signature"),
    "no graph listed": (lambda folder: change_manifest(folder, files={}, samples=[]), "model.onnx"),
    "a bad name": (lambda folder: change_manifest(folder, name="../x"), "name"),
    "a path out": (lambda folder: change_manifest(folder, files={"../x": ESCAPE}), "plain path"),
    "a root path": (lambda folder: change_manifest(folder, files={"/etc/x": ESCAPE}), "plain"),
    "a sample unlisted": (
        lambda folder: change_manifest(
            folder, samples=[{"inputs": {"image": {"file": "x.png"}}, "expected": 1}]
        ),
        "x.png",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found_and_named(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(GOLDEN, folder)
    damage, words = DAMAGES[name]
    damage(folder)
    with pytest.raises(BundleInvalid, match=words) as raised:
        open_bundle(folder)
    assert raised.value.hint


def test_a_changed_byte_is_a_checksum_error(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(GOLDEN, folder)
    flip_byte(folder)
    with pytest.raises(ChecksumMismatch):
        open_bundle(folder)


def test_the_shipped_digits_are_small_and_whole(digits: Bundle) -> None:
    size = sum(path.stat().st_size for path in digits.folder.rglob("*") if path.is_file())
    assert size < 500_000
    assert digits.manifest.metrics["test_accuracy"] > 0.99
    assert as_object(digits.read_json("card.json"), "card")["limits"]
