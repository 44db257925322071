"""Writing bundles: golden bytes, and nothing left behind after a failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelpad.bundle import write_bundle
from modelpad.errors import BundleInvalid, StoreError
from tests.bundle.golden_bundle import FILES, GOLDEN, golden_manifest


def read_files(folder: Path) -> dict[Path, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder): path.read_bytes() for path in files}


def test_the_bytes_of_a_bundle_are_the_golden_ones(tmp_path: Path) -> None:
    written = write_bundle(tmp_path / "golden", golden_manifest(), FILES)
    assert read_files(written.folder) == read_files(GOLDEN)


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
