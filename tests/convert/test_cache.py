"""Files are imported once for their content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelpad.convert.cache import hash_content, import_cached, name_from_path


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


def test_a_file_is_imported_once(model: Path, tmp_path: Path) -> None:
    reports: list[str] = []
    first = import_cached(model, tmp_path / "cache", reports.append)
    assert first.manifest.name == "my-double"
    assert reports == ["Importing My Double.onnx ..."]
    again = import_cached(model, tmp_path / "cache", reports.append)
    assert again.folder == first.folder
    assert len(reports) == 1


def test_a_damaged_bundle_in_the_cache_is_replaced(model: Path, tmp_path: Path) -> None:
    reports: list[str] = []
    first = import_cached(model, tmp_path / "cache", reports.append)
    (first.folder / "manifest.json").write_text("{")
    again = import_cached(model, tmp_path / "cache", reports.append)
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


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("My Model.keras", "my-model"),
        ("net.v2.pt2", "net.v2"),
        ("__.onnx", "model"),
        ("ÄÖ.onnx", "model"),
        (f"{'x' * 100}.onnx", "x" * 64),
    ],
)
def test_names_are_made_of_files(file: str, name: str) -> None:
    assert name_from_path(Path(file)) == name
