"""Files are imported once for their content."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from modelpad.bundle import Bundle
from modelpad.convert.cache import hash_content, hash_model, import_cached
from modelpad.convert.folders import FolderModel, find_models, valid_name
from modelpad.errors import TooLarge


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """y = 2 x, as ONNX."""
    from onnx import TensorProto, helper, numpy_helper, save

    shapes = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in ("x", "y")
    ]
    two = numpy_helper.from_array(np.array(2.0, np.float32), "two")
    nodes = [helper.make_node("Mul", ["x", "two"], ["y"])]
    graph = helper.make_graph(nodes, "double", shapes[:1], shapes[1:], [two])
    path = tmp_path / "My Double.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def import_file(path: Path, cache: Path, reports: list[str]) -> Bundle:
    return import_cached(find_models(path).models[0], cache, reports.append)


def test_a_file_is_imported_once(model: Path, tmp_path: Path) -> None:
    reports: list[str] = []
    first = import_file(model, tmp_path / "cache", reports)
    assert first.manifest.name == "My-Double"
    assert reports == ["Importing My Double.onnx ..."]
    again = import_file(model, tmp_path / "cache", reports)
    assert again.folder == first.folder
    assert len(reports) == 1


def test_a_damaged_bundle_in_the_cache_is_replaced(model: Path, tmp_path: Path) -> None:
    reports: list[str] = []
    first = import_file(model, tmp_path / "cache", reports)
    (first.folder / "manifest.json").write_text("{")
    again = import_file(model, tmp_path / "cache", reports)
    assert again.manifest.files == first.manifest.files
    assert len(reports) == 2


def test_content_counts_and_not_the_place(model: Path, tmp_path: Path) -> None:
    before = hash_content(model)
    (tmp_path / "elsewhere").mkdir()
    assert hash_content(model.rename(tmp_path / "elsewhere" / model.name)) == before
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "a").write_bytes(b"12")
    (folder / "b").write_bytes(b"3")
    whole = hash_content(folder)
    (folder / "a").write_bytes(b"1")
    (folder / "b").write_bytes(b"23")
    assert hash_content(folder) != whole


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes on Linux")
def test_a_name_need_not_be_text(tmp_path: Path) -> None:
    path = tmp_path / "bad\udcff.onnx"
    path.write_bytes(b"x")
    assert hash_content(path)


def test_what_a_folder_says_counts_too(model: Path, tmp_path: Path) -> None:
    plain = FolderModel("double", "double", 1, model)
    labelled = FolderModel("double", "double", 1, model, labels={"y": ("cat", "dog")})
    (tmp_path / "weights.h5").write_bytes(b"1")
    weighted = FolderModel("double", "double", 1, model, tmp_path / "weights.h5")
    assert len({hash_model(each) for each in (plain, labelled, weighted)}) == 3
    assert hash_model(plain) == hash_model(FolderModel("double", "double", 2, model))


def test_a_folder_of_very_many_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelpad.convert.cache.MAX_FILES", 3)
    for number in range(4):
        (tmp_path / str(number)).touch()
    with pytest.raises(TooLarge, match="more than 3 files"):
        hash_content(tmp_path)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("My Model.keras", "My-Model"),
        ("net.v2.pt2", "net.v2"),
        ("my model (1).onnx", "my-model-1"),
        ("__.onnx", "model"),
        ("ÄÖ.onnx", "model"),
        (f"{'x' * 200}.onnx", "x" * 128),
        ("_private.onnx", "private"),
        ("ResNet50.onnx", "ResNet50"),
    ],
)
def test_names_are_made_of_files(file: str, name: str) -> None:
    assert valid_name(Path(file).stem) == name
