"""Nothing of a foreign file is executed without --trust: each attack that we know is refused."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelpad.convert import ImportRequest, open_source
from modelpad.convert.archives import ArchiveLimits, check_hdf5, check_zip
from modelpad.errors import ConversionFailed, NotTrusted, TooLarge

PLAIN = ImportRequest(inputs=("tensor:float32[4]",))


class Bomb:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "was-here"


@pytest.fixture
def keras() -> Any:
    return pytest.importorskip("keras")


def open_it(path: Path, trust: bool = False, weights: Path | None = None) -> Any:
    return open_source(path, ImportRequest(inputs=PLAIN.inputs, trust=trust, weights=weights))


def make_lambda(keras: Any, mark: Path) -> Any:
    touch = f"__import__('pathlib').Path({str(mark)!r}).touch()"
    function = eval(f"lambda x: (x, {touch})[0]")
    return keras.Sequential([keras.layers.Input((4,)), keras.layers.Lambda(function)])


@pytest.mark.parametrize("form", ["keras", "h5", "json"])
def test_lambda_layers(keras: Any, tmp_path: Path, mark: Path, form: str) -> None:
    model = make_lambda(keras, mark)
    path, weights = tmp_path / f"net.{form}", None
    if form == "json":
        path.write_text(model.to_json())
        weights = tmp_path / "net.weights.h5"
        model.save_weights(weights)
    else:
        model.save(path)
    mark.unlink(missing_ok=True)
    with pytest.raises(NotTrusted, match="Lambda") as caught:
        open_it(path, weights=weights)
    assert "--trust" in caught.value.hint
    assert not mark.exists()
    if form == "keras":
        open_it(path, trust=True)
        assert mark.exists()


def test_custom_objects_are_named(keras: Any, tmp_path: Path) -> None:
    @keras.saving.register_keras_serializable(package="Mine")
    class Odd(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x * 2

    keras.Sequential([keras.layers.Input((4,)), Odd(name="strange")]).save(tmp_path / "net.keras")
    with pytest.raises(NotTrusted, match="Odd 'strange'"):
        open_it(tmp_path / "net.keras")


@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("builtins", "exec"), ("keras.src.utils.file_utils", "get_file")],
)
def test_configurations_that_name_functions(
    keras: Any, tmp_path: Path, module: str, name: str
) -> None:
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
    config = json.loads(model.to_json())
    config["config"]["layers"][1]["config"]["activation"] = {
        "module": module,
        "class_name": "function",
        "config": name,
        "registered_name": name,
    }
    (tmp_path / "net.json").write_text(json.dumps(config))
    model.save_weights(tmp_path / "net.weights.h5")
    with pytest.raises(NotTrusted):
        open_it(tmp_path / "net.json", weights=tmp_path / "net.weights.h5")


def test_layers_that_open_files(keras: Any, tmp_path: Path) -> None:
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
    config = json.loads(model.to_json())
    config["config"]["layers"][1]["config"]["vocabulary"] = "/etc/passwd"
    (tmp_path / "net.json").write_text(json.dumps(config))
    model.save_weights(tmp_path / "net.weights.h5")
    with pytest.raises(NotTrusted, match="/etc/passwd"):
        open_it(tmp_path / "net.json", weights=tmp_path / "net.weights.h5")


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "model.pt", "model.skops"])
def test_pickles(tmp_path: Path, mark: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(NotTrusted, match="pickle"):
        open_it(path)
    assert not mark.exists()


def test_a_pickled_module(tmp_path: Path, mark: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"weights": torch.zeros(2), "bomb": Bomb(mark)}, tmp_path / "net.pt")
    with pytest.raises(NotTrusted, match="pickle of more than tensors"):
        open_it(tmp_path / "net.pt")
    assert not mark.exists()
    torch.save(torch.nn.Linear(4, 2), tmp_path / "whole.pt")
    with pytest.raises(NotTrusted, match=r"torch\.nn\.modules\.linear\.Linear") as caught:
        open_it(tmp_path / "whole.pt")
    assert "\x1b" not in caught.value.message
    assert open_it(tmp_path / "whole.pt", trust=True).framework == "pytorch"


def test_skops_with_a_class_of_its_own(tmp_path: Path) -> None:
    skops = pytest.importorskip("skops.io")
    from sklearn.preprocessing import FunctionTransformer

    skops.dump(FunctionTransformer(np.linalg.norm), tmp_path / "f.skops")
    body = {}
    with zipfile.ZipFile(tmp_path / "f.skops") as archive:
        for name in archive.namelist():
            body[name] = (
                archive.read(name).replace(b"numpy.linalg", b"os").replace(b"norm", b"system")
            )
    with zipfile.ZipFile(tmp_path / "g.skops", "w") as archive:
        for name, data in body.items():
            archive.writestr(name, data)
    with pytest.raises(NotTrusted) as caught:
        open_it(tmp_path / "g.skops")
    found = caught.value.details["found"]
    assert isinstance(found, list)
    assert any("os" in each for each in found)


def rewrite(source: Path, target: Path, change: Any) -> None:
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target, "w") as after:
        for name in before.namelist():
            after.writestr(name, change(name, before.read(name)))


def test_programs_that_call_other_functions(program: Path, tmp_path: Path) -> None:
    def change(name: str, body: bytes) -> bytes:
        return body.replace(b"torch.ops.aten.linear.default", b"os.system")

    rewrite(program, tmp_path / "bad.pt2", change)
    assert open_it(program).framework == "pytorch"
    with pytest.raises(NotTrusted, match=r"os\.system"):
        open_it(tmp_path / "bad.pt2")


def test_programs_with_expressions_that_run(program: Path, tmp_path: Path) -> None:
    changed = []

    def evil(record: Any) -> Any:
        if isinstance(record, list):
            return [evil(item) for item in record]
        if isinstance(record, dict):
            if "expr_str" in record:
                changed.append(record)
                return record | {"expr_str": "__import__('os').system('true')"}
            return {key: evil(value) for key, value in record.items()}
        return record

    def change(name: str, body: bytes) -> bytes:
        return json.dumps(evil(json.loads(body))).encode() if name.endswith(".json") else body

    rewrite(program, tmp_path / "bad.pt2", change)
    assert changed
    with pytest.raises(NotTrusted, match="expression"):
        open_it(tmp_path / "bad.pt2")


def test_programs_with_pickles(program: Path, tmp_path: Path, mark: Path) -> None:
    def change(name: str, body: bytes) -> bytes:
        return pickle.dumps(Bomb(mark)) if name.endswith(".pt") else body

    rewrite(program, tmp_path / "bad.pt2", change)
    with pytest.raises(NotTrusted, match="pickle"):
        open_it(tmp_path / "bad.pt2")
    assert not mark.exists()


def test_programs_with_pickles_in_a_folder_of_any_name(
    program: Path, tmp_path: Path, mark: Path
) -> None:
    with zipfile.ZipFile(program) as good, zipfile.ZipFile(tmp_path / "bad.pt2", "w") as bad:
        for name in good.namelist():
            body = pickle.dumps(Bomb(mark)) if name.endswith(".pt") else good.read(name)
            bad.writestr(name.replace("net/", "code/", 1), body)
    with pytest.raises(NotTrusted, match="pickle"):
        open_it(tmp_path / "bad.pt2")
    assert not mark.exists()


@pytest.mark.parametrize("path_name", ["WEIGHT_7", "opaque_obj_0"])
def test_programs_with_payloads_of_other_names(
    program: Path, tmp_path: Path, mark: Path, path_name: str
) -> None:
    def change(name: str, body: bytes) -> bytes:
        if not name.endswith("model_weights_config.json"):
            return body
        record = json.loads(body)
        first = next(iter(record["config"].values()))
        first |= {"use_pickle": True, "path_name": path_name}
        return json.dumps(record).encode()

    rewrite(program, tmp_path / "bad.pt2", change)
    with zipfile.ZipFile(tmp_path / "bad.pt2", "a") as archive:
        # PyTorch finds an entry in whichever case.
        archive.writestr(f"net/data/weights/{path_name.lower()}", pickle.dumps(Bomb(mark)))
    with pytest.raises(NotTrusted, match=path_name):
        open_it(tmp_path / "bad.pt2")
    assert not mark.exists()


@pytest.mark.parametrize(
    "name", ["net/models/model.jsox", "net/data/aotinductor/model/model.so", "net/Byteorder"]
)
def test_programs_with_entries_that_are_not_of_torch_export(
    program: Path, tmp_path: Path, name: str
) -> None:
    rewrite(program, tmp_path / "bad.pt2", lambda _, body: body)
    with zipfile.ZipFile(tmp_path / "bad.pt2", "a") as archive:
        archive.writestr(name, b"{}")
    with pytest.raises(NotTrusted, match=name):
        open_it(tmp_path / "bad.pt2")


def test_programs_that_open_files(program: Path, tmp_path: Path) -> None:
    def change(name: str, body: bytes) -> bytes:
        return body.replace(b"aten.linear.default", b"aten.from_file.default")

    rewrite(program, tmp_path / "bad.pt2", change)
    with pytest.raises(NotTrusted, match="from_file"):
        open_it(tmp_path / "bad.pt2")


def make_graph(op: str = "Identity", domain: str = "", *tensors: Any) -> Any:
    import onnx

    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node(op, ["x"], ["y"], domain=domain)
    graph = onnx.helper.make_graph(
        [node],
        "g",
        [value("x", onnx.TensorProto.FLOAT, ["n", 4])],
        [value("y", onnx.TensorProto.FLOAT, ["n", 4])],
        list(tensors),
    )
    opsets = [onnx.helper.make_opsetid("", 18)]
    opsets += [onnx.helper.make_opsetid(domain, 1)] if domain else []
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)


def test_onnx_domains_of_an_author(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    onnx.save(make_graph("Odd", "com.example"), tmp_path / "g.onnx")
    with pytest.raises(NotTrusted, match=r"com\.example::Odd"):
        open_it(tmp_path / "g.onnx")


def outside_tensor(location: str) -> Any:
    import onnx

    tensor = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[1])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="length", value="4")
    return tensor


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "a/../../secret", "link"])
def test_onnx_data_outside_its_folder(tmp_path: Path, location: str) -> None:
    onnx = pytest.importorskip("onnx")
    folder = tmp_path / "model"
    (folder / "a").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"1234")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "g.onnx").write_bytes(
        make_graph("Identity", "", outside_tensor(location)).SerializeToString()
    )
    assert onnx.load(folder / "g.onnx", load_external_data=False).graph.initializer
    with pytest.raises(NotTrusted, match="stored in"):
        open_it(folder / "g.onnx")


def test_onnx_data_that_is_missing_or_short(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    model = make_graph("Identity", "", outside_tensor("weights.bin"))
    (tmp_path / "g.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ConversionFailed, match=r"weights\.bin, which does not exist"):
        open_it(tmp_path / "g.onnx")
    (tmp_path / "weights.bin").write_bytes(b"12")
    with pytest.raises(ConversionFailed, match="shorter"):
        open_it(tmp_path / "g.onnx")


def test_zip_bombs(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", b"\0" * (300 << 20))
    with pytest.raises(TooLarge, match="expands"):
        open_it(tmp_path / "net.keras")
    with pytest.raises(TooLarge):
        check_zip(tmp_path / "net.keras", ArchiveLimits(entries=2))


def test_zip_entries_that_leave_the_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net.keras", "w") as archive:
        for name in ("config.json", "metadata.json", "../../evil.h5"):
            archive.writestr(name, "{}")
    with pytest.raises(NotTrusted, match="evil"):
        open_it(tmp_path / "net.keras")


def test_hdf5_bombs_and_links(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    (tmp_path / "other.h5").write_bytes(b"")
    bomb, linked, kept = (tmp_path / f"{name}.h5" for name in ("bomb", "linked", "kept"))
    with h5py.File(bomb, "w") as file:
        file.create_dataset("w", (1 << 31,), "f4", chunks=(1 << 20,), compression="gzip")
    with h5py.File(linked, "w") as file:
        file["w"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/w")
    with h5py.File(kept, "w") as file:
        file.create_dataset("w", (4,), "f4", external=[(str(tmp_path / "raw"), 0, 16)])
    with pytest.raises(TooLarge, match="expands"):
        check_hdf5(bomb)
    for path in (linked, kept):
        with pytest.raises(NotTrusted):
            check_hdf5(path)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("empty.keras", b""),
        ("short.keras", b"PK\x03\x04 and no more"),
        ("text.onnx", b"this is no graph"),
        ("cut.h5", b"\x89HDF\r\n\x1a\n\0\0\0"),
        ("wrong.json", b"{not json"),
        ("other.json", b'{"a": 1}'),
        ("noise.pt", bytes(range(256)) * 8),
        ("noise.ubj", b"{L" + bytes(99)),
        ("noise.txt", b"tree\nversion=v4\nnothing"),
        ("short.safetensors", b'\x10\0\0\0\0\0\0\0{"a": 1}'),
        ("noise.tflite", b"\x1c\0\0\0TFL3" + bytes(64)),
    ],
)
@pytest.mark.slow
@pytest.mark.long
def test_rubbish_is_refused_in_words(
    run_import: Any, tmp_path: Path, name: str, body: bytes
) -> None:
    (tmp_path / name).write_bytes(body)
    done = run_import(name, "--input", "tensor:float32[4]")
    assert done.returncode in (1, 2), done.stdout
    assert "defect" not in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("  "), done.stderr
