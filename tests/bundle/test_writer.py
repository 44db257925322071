"""Writing bundles: golden bytes, and nothing left behind after a failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelpad.bundle import write_bundle
from modelpad.errors import BundleInvalid, StoreError
from tests.bundle.golden_bundle import FILES, GOLDEN, golden_manifest


def test_the_bytes_of_a_bundle_are_the_golden_ones(tmp_path: Path) -> None:
    written = write_bundle(tmp_path / "golden", golden_manifest(), FILES)
    for path in sorted(GOLDEN.rglob("*")):
        if path.is_file():
            assert (written.folder / path.relative_to(GOLDEN)).read_bytes() == path.read_bytes()


def test_nothing_is_left_when_writing_fails(tmp_path: Path) -> None:
    with pytest.raises(BundleInvalid):
        write_bundle(tmp_path / "a", golden_manifest(), {"samples/a.png": b""})
    with pytest.raises(BundleInvalid):
        write_bundle(tmp_path / "a", golden_manifest(), FILES | {"../out": b""})
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("")
    with pytest.raises(StoreError):
        write_bundle(tmp_path / "taken", golden_manifest(), FILES)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
