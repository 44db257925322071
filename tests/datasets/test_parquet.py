"""Parquet files of texts and images, where pyarrow is installed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelpad.datasets import LoadOptions, TableOptions, load_data
from modelpad.datasets.parquet import guess_suffix
from modelpad.datasets.unpack import UnpackLimits, unpack_archive
from modelpad.errors import DataSetInvalid, MissingExtra, TooLarge


def write_parquet(path: Path, columns: dict[str, list[object]]) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), path)
    return path


def test_texts_and_classes(tmp_path: Path) -> None:
    columns: dict[str, list[object]] = {"text": ["gut", "schlecht", "prächtig"], "label": [1, 0, 1]}
    data = load_data(write_parquet(tmp_path / "a.parquet", columns), cache=tmp_path / "cache")
    assert [example.input for example in data.train] == columns["text"]
    assert (data.classes, data.train.labels.tolist()) == (("0", "1"), [1, 0, 1])
    assert data.name == "a"


@pytest.mark.parametrize("nested", [True, False])
def test_images_become_files(tmp_path: Path, write_image: Any, nested: bool) -> None:
    bodies = [write_image(tmp_path / f"{i}.png").read_bytes() for i in range(4)]
    cells: list[object] = (
        [{"bytes": b, "path": "../x.png"} for b in bodies] if nested else [*bodies]
    )
    columns: dict[str, list[object]] = {"image": cells, "label": ["a", "b", "a", "b"]}
    path = write_parquet(tmp_path / "a.parquet", columns)
    data = load_data(path, cache=tmp_path / "cache", options=LoadOptions(memory_bytes=0))
    assert data.train.images.shape == (4, 16, 20, 3)
    assert data.train.labels.tolist() == [0, 1, 0, 1]
    assert not (tmp_path / "x.png").exists()


def test_values(tmp_path: Path) -> None:
    columns: dict[str, list[object]] = {"text": ["a", "b"], "price": [1.5, 2.5]}
    path = write_parquet(tmp_path / "a.parquet", columns)
    table = TableOptions(None, ("price",), "regression")
    data = load_data(path, cache=tmp_path / "cache", options=LoadOptions(table=table))
    np.testing.assert_array_equal(data.train.targets, [[1.5], [2.5]])


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"text": ["one", "two"]})
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataSetInvalid, match=r"a\.parquet"):
        unpack_archive(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_bomb_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"text": ["x" * 5_000_000]})
    with pytest.raises(TooLarge, match="decompression bomb"):
        unpack_archive(path, tmp_path / "out", limits=UnpackLimits(max_bytes=1_000_000))


def test_without_pyarrow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra) as raised:
        load_data(tmp_path / "a.parquet", cache=tmp_path / "cache")
    assert "modelpad[parquet]" in raised.value.hint


def test_suffixes_are_known_by_the_first_bytes() -> None:
    assert guess_suffix(b"\xff\xd8\xff\xe0") == ".jpg"
    assert guess_suffix(b"RIFF0000WEBPVP8 ") == ".webp"
    assert guess_suffix(b"anything") == ".bin"
