"""A bundle reads no file but its own: plain files, listed in its manifest with their checksums."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelpad.bundle import Manifest, open_bundle, write_bundle
from modelpad.bundle.external_data import find_locations
from modelpad.convert import ImportRequest, convert_model, open_source
from modelpad.engine import Session
from modelpad.errors import BundleInvalid, ChecksumMismatch, ModelpadError
from modelpad.fields import Signature, Tensor
from modelpad.store import LocalStore

DEEP = b"[" * 100_000 + b"]" * 100_000


def make_weighted(location: str = "", *, where: str = "initializer") -> Any:
    """`total = row + w`, whose weights `w` are in the file at `location`, or in the graph."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    w = onnx.numpy_helper.from_array(np.arange(4, dtype=np.float32), "w")
    if location:
        w.ClearField("raw_data")
        w.data_location = onnx.TensorProto.EXTERNAL
        w.external_data.add(key="location", value=location)
        w.external_data.add(key="length", value="16")
    row = helper.make_tensor_value_info("row", kind, ["batch", 4])
    total = helper.make_tensor_value_info("total", kind, ["batch", 4])
    add = helper.make_node("Add", ["row", "w"], ["total"])
    constant = helper.make_node("Constant", [], ["w"], value=w)
    nodes = [add] if where == "initializer" else [constant, add]
    if where == "branch":
        then = helper.make_graph([constant], "then", [], [helper.make_empty_tensor_value_info("w")])
        yes = helper.make_node("Constant", [], ["yes"], value_int=1)
        choose = helper.make_node("If", ["yes"], ["w"], then_branch=then, else_branch=then)
        nodes = [yes, choose, add]
    weights = [w] if where == "initializer" else []
    graph = helper.make_graph(nodes, "g", [row], [total], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if where == "function":
        model.functions.add(name="F", domain="local").node.append(constant)
    if where == "training":
        model.training_info.add().algorithm.node.append(constant)
    return model


MANIFEST = Manifest(
    name="sums",
    task="test",
    signature=Signature((Tensor("row", "float32", (4,)),), (Tensor("total", "float32", (4,)),)),
)
WEIGHTS = np.arange(4, dtype=np.float32).tobytes()


def write_weighted(folder: Path, location: str, files: dict[str, bytes], **how: Any) -> Path:
    graph = make_weighted(location, **how).SerializeToString()
    write_bundle(folder, MANIFEST, {"model.onnx": graph} | files)
    return folder


# External data


def test_listed_external_data_is_used_and_checked(tmp_path: Path) -> None:
    folder = write_weighted(tmp_path / "b", "model.onnx.data", {"model.onnx.data": WEIGHTS})
    session = Session(open_bundle(folder))
    answer = session.predict({"row": np.zeros((1, 4), np.float32)})["total"]
    assert answer.tolist() == [[0, 1, 2, 3]]
    (folder / "model.onnx.data").write_bytes(WEIGHTS[::-1])
    with pytest.raises(ChecksumMismatch, match=r"model\.onnx\.data"):
        open_bundle(folder)


@pytest.mark.parametrize("where", ["initializer", "node", "branch", "function", "training"])
def test_external_data_that_is_not_listed(tmp_path: Path, where: str) -> None:
    folder = write_weighted(tmp_path / "b", "extra.bin", {}, where=where)
    (folder / "extra.bin").write_bytes(WEIGHTS)
    with pytest.raises(BundleInvalid, match=r"extra\.bin.*does not list"):
        open_bundle(folder)
    with pytest.raises(BundleInvalid):
        LocalStore(tmp_path / "store").push(open_bundle(folder, verify=False))


@pytest.mark.parametrize(
    "location", ["../secret", "/etc/passwd", "./model.onnx.data", "a/../../secret",
                 "*/_ORT_MEM_ADDR_/*"]
)  # fmt: skip
def test_external_data_outside_the_bundle(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret").write_bytes(WEIGHTS)
    folder = write_weighted(tmp_path / "b", location, {"model.onnx.data": WEIGHTS})
    with pytest.raises(BundleInvalid, match="does not list"):
        open_bundle(folder)


def test_locations_are_found_without_the_onnx_package(tmp_path: Path) -> None:
    (tmp_path / "g.onnx").write_bytes(make_weighted("x.bin").SerializeToString())
    (tmp_path / "plain.onnx").write_bytes(make_weighted().SerializeToString())
    code = (
        "import sys; from pathlib import Path\n"
        "from modelpad.bundle.external_data import find_locations as find\n"
        "print(find(Path('g.onnx')), find(Path('plain.onnx')), 'onnx' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["{'x.bin'}", "set()", "False"]


def test_damaged_graphs_are_refused_in_words(tmp_path: Path) -> None:
    body = make_weighted("x.bin").SerializeToString()
    graph = tmp_path / "g.onnx"
    rng = np.random.default_rng(1)
    refusals = []
    for _ in range(300):
        damaged = bytearray(body)
        for place in rng.integers(0, len(body), 3):
            damaged[place] = rng.integers(256)
        graph.write_bytes(damaged[: rng.integers(1, len(body) + 1)])
        try:
            find_locations(graph)
        except ValueError as error:
            refusals.append(str(error))
    assert 0 < len(refusals) < 300
    assert all(refusals)


def test_imported_external_data_is_in_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights too large for one protobuf stay beside the graph, listed with their checksum."""
    from modelpad.convert import graph

    monkeypatch.setattr(graph, "MAX_INLINE_BYTES", 0)
    source = tmp_path / "in"
    source.mkdir()
    (source / "g.onnx").write_bytes(make_weighted("w.bin").SerializeToString())
    (source / "w.bin").write_bytes(np.arange(512, dtype=np.float32).tobytes())
    model = make_weighted("w.bin")
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 512
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 512
    model.graph.initializer[0].dims[0] = 512
    model.graph.initializer[0].external_data[1].value = "2048"
    (source / "g.onnx").write_bytes(model.SerializeToString())
    request = ImportRequest()
    conversion = convert_model(open_source(source / "g.onnx", request), "sums", request)
    bundle = write_bundle(tmp_path / "b", conversion.manifest, conversion.files)
    assert find_locations(bundle.path("model.onnx")) == {"model.onnx.data"}
    body = bundle.path("model.onnx.data").read_bytes()
    record = bundle.manifest.files["model.onnx.data"]
    assert (record.bytes, record.sha256) == (len(body), hashlib.sha256(body).hexdigest())
    open_bundle(tmp_path / "b")


# Links


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    """A bundle with files two folders deep."""
    files = {"samples/pictures/0.bin": b"sample"}
    return write_weighted(tmp_path / "bundle", "", files)


def replace_by_link(path: Path, outside: Path) -> None:
    """Moves it out of the bundle, and leaves a link to it."""
    shutil.move(path, outside)
    path.symlink_to(outside)


@pytest.mark.parametrize(
    "name", ["samples", "samples/pictures", "samples/pictures/0.bin", "model.onnx", "manifest.json"]
)
def test_links_anywhere_inside_a_bundle(nested: Path, tmp_path: Path, name: str) -> None:
    opened = open_bundle(nested)
    replace_by_link(nested / name, tmp_path / "outside")
    with pytest.raises(BundleInvalid, match=f"{name} is a link"):
        open_bundle(nested)
    if name == "manifest.json":
        with pytest.raises(BundleInvalid, match="is a link"):
            open_bundle(nested, verify=False)
    else:
        file = name if name == "model.onnx" else "samples/pictures/0.bin"
        with pytest.raises(BundleInvalid, match="is a link"):
            opened.path(file)


def test_a_link_is_not_pushed(nested: Path, tmp_path: Path) -> None:
    opened = open_bundle(nested)
    replace_by_link(nested / "samples", tmp_path / "outside")
    with pytest.raises(BundleInvalid, match="is a link"):
        LocalStore(tmp_path / "store").push(opened)
    assert not list((tmp_path / "store").rglob("manifest.json"))


def test_the_folder_itself_may_be_a_link(nested: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(nested)
    assert open_bundle(tmp_path / "current").manifest.name == "sums"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", ["model.onnx", "manifest.json"])
def test_a_pipe_is_refused_rather_than_waited_for(nested: Path, name: str) -> None:
    (nested / name).unlink()
    os.mkfifo(nested / name)
    with pytest.raises(BundleInvalid, match="not a regular file"):
        open_bundle(nested)


# Deep JSON


def test_deeply_nested_manifests(nested: Path) -> None:
    (nested / "manifest.json").write_bytes(DEEP)
    with pytest.raises(BundleInvalid, match="nested"):
        open_bundle(nested)
    record = b'{"format": 1, "name": ' + DEEP + b"}"
    (nested / "manifest.json").write_bytes(record)
    with pytest.raises(BundleInvalid, match="nested"):
        open_bundle(nested)


def test_deeply_nested_files_of_a_bundle(tmp_path: Path) -> None:
    bundle = open_bundle(write_weighted(tmp_path / "b", "", {"card.json": DEEP}))
    with pytest.raises(BundleInvalid, match="nested"):
        bundle.read_json("card.json")


def test_nesting_just_beyond_the_limit(nested: Path) -> None:
    record = json.loads((nested / "manifest.json").read_bytes())
    value: Any = 1
    for _ in range(250):
        value = [value]
    record["training"] = {"deep": value}
    (nested / "manifest.json").write_text(json.dumps(record))
    with pytest.raises(BundleInvalid, match="nested"):
        open_bundle(nested)


@pytest.mark.parametrize("name", ["net.json", "net.skops", "booster.json"])
def test_deeply_nested_foreign_files(tmp_path: Path, name: str) -> None:
    heads = {"net.json": b'{"class_name": ', "booster.json": b'{"learner": '}
    if name == "net.skops":
        import zipfile

        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("schema.json", DEEP)
    else:
        (tmp_path / name).write_bytes(heads[name] + DEEP + b"}")
    with pytest.raises(ModelpadError) as caught:
        open_source(tmp_path / name, ImportRequest())
    assert caught.value.hint
