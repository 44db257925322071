"""A foreign file runs no code, and reaches no other file, unless it is trusted."""

from __future__ import annotations

import itertools
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from modelpad.errors import ConversionFailed, NotTrusted, TooLarge

NUMBERS = itertools.count()  # PyTorch compiles a class of one name once
SECRET = b"do not read or change"


# TorchScript


def write_script(path: Path, source: str, replace: tuple[str, str] = ("", "")) -> None:
    """A TorchScript file whose forward is `source`, its code edited afterwards."""
    torch = pytest.importorskip("torch")
    net = type(f"Net{next(NUMBERS)}", (torch.jit.ScriptModule,), {})()
    net.define(source)
    net.save(str(path))
    if not replace[0]:
        return
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, body in entries.items():
            archive.writestr(name, body.replace(replace[0].encode(), replace[1].encode()))


SCRIPTS = {
    "writes a file": """
def forward(self, x):
    file = torch.from_file("{victim}", True, 21, dtype=torch.uint8)
    file.copy_(torch.zeros([21], dtype=torch.uint8))
    return x
""",
    "reads a file": """
def forward(self, x):
    return x + torch.from_file("{victim}", False, 4, dtype=torch.uint8)
""",
    "never ends": """
def forward(self, x):
    while True:
        x = x + 1
    return x
""",
    "prints": """
def forward(self, x):
    print("here")
    return x
""",
    "is harmless": """
def forward(self, x):
    return x + 1
""",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_torchscript_needs_trust(
    name: str, tmp_path: Path, open_foreign: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(SECRET)
    write_script(tmp_path / "net.pt", SCRIPTS[name].format(victim=victim))
    with pytest.raises(NotTrusted, match="TorchScript") as caught:
        open_foreign(tmp_path / "net.pt")
    assert "--trust" in caught.value.hint
    assert "torch.export.save" in caught.value.hint
    assert victim.read_bytes() == SECRET
    assert "here" not in capfd.readouterr().out


@pytest.mark.parametrize("call", ["ops.aten.from_file(", "torch.from_file (", "torch . from_file("])
def test_torchscript_needs_trust_however_its_code_is_written(
    call: str, tmp_path: Path, open_foreign: Any
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(SECRET)
    source = SCRIPTS["writes a file"].format(victim=victim)
    write_script(tmp_path / "net.pt", source, ("torch.from_file(", call))
    with pytest.raises(NotTrusted, match="TorchScript"):
        open_foreign(tmp_path / "net.pt")
    assert victim.read_bytes() == SECRET


def test_torchscript_under_other_names_is_no_state_dict(tmp_path: Path, open_foreign: Any) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(SECRET)
    write_script(tmp_path / "net.pt", SCRIPTS["writes a file"].format(victim=victim))
    with (
        zipfile.ZipFile(tmp_path / "net.pt") as before,
        zipfile.ZipFile(tmp_path / "other.pt", "w") as after,
    ):
        for name in before.namelist():
            after.writestr(name.replace("/code/", "/cod/"), before.read(name))
    with pytest.raises(NotTrusted):
        open_foreign(tmp_path / "other.pt")
    assert victim.read_bytes() == SECRET


def test_trusted_torchscript_is_imported(tmp_path: Path, open_foreign: Any) -> None:
    write_script(tmp_path / "net.pt", SCRIPTS["is harmless"])
    assert open_foreign(tmp_path / "net.pt", trust=True).framework == "torchscript"


# Exported programs


def touch(mark: Path) -> str:
    """An expression that leaves the mark behind."""
    return f"__import__('pathlib').Path({str(mark)!r}).touch()"


def test_the_program_itself_is_fine(program: Path, open_foreign: Any) -> None:
    source = open_foreign(program)
    assert [spec.shape for spec in source.inputs] == [(None, 4)]
    assert source.export().graph.node


def test_guards_are_not_evaluated(tamper: Any, mark: Path, open_foreign: Any) -> None:
    bad = tamper(lambda record: record.update(guards_code=[f"{touch(mark)} is None"]))
    open_foreign(bad).export()
    assert not mark.exists()


def rename_input(record: Any, old: str, new: str) -> Any:
    """The record with `old` replaced by `new` wherever it stands alone."""
    text = json.dumps(record).replace(json.dumps(old), json.dumps(new))
    return json.loads(text)


def test_names_that_would_become_code(tamper: Any, mark: Path, open_foreign: Any) -> None:
    bad = tamper(
        lambda record: record.update(rename_input(record, "input", f"input={touch(mark)}"))
    )
    with pytest.raises(NotTrusted, match="name"):
        open_foreign(bad)
    assert not mark.exists()


STRUCTURES = {
    "an enumeration": ("builtins.list", {"__enum__": True, "fqn": "{module}:X", "name": "Y"}),
    "a default factory": (
        "collections.defaultdict",
        {"default_factory_module": "{module}", "default_factory_name": "x", "dict_context": []},
    ),
    "a key that ends a string": ("builtins.dict", ['"); evil; ("']),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_containers_import_no_modules(
    name: str,
    tamper: Any,
    mark: Path,
    tmp_path: Path,
    open_foreign: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "evil_module.py").write_text(touch(mark))
    monkeypatch.syspath_prepend(tmp_path)
    kind, context = STRUCTURES[name]
    leaf: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
    text = json.dumps(context).replace("{module}", "evil_module")
    given = json.loads(text) if "factory" in name else text

    def change(record: Any) -> None:
        for entry in record["graph_module"]["module_call_graph"]:
            if entry.get("signature"):
                node = {"type": kind, "context": given, "children_spec": [leaf]}
                entry["signature"]["out_spec"] = json.dumps([1, node])

    with pytest.raises(NotTrusted, match="container"):
        open_foreign(tamper(change))
    assert not mark.exists()


CALLS = [
    "os.system",
    "torch.os.system",
    "torch.hub.load",
    "torch.ops.aten.from_file.default",
    "torch.ops.aten.save.default",
    "torch.ops.aten._print.default",
    "torch.ops.aten.set_.source_Storage",
    "torch.ops.aten._debug_has_internal_overlap.default",
    "torch.ops.mine.odd.default",
    "torch.ops.higher_order.while_loop",
    "torch.ops.higher_order.aoti_call_delegate",
    "torch.ops.higher_order.call_torchbind",
    "torch._higher_order_ops.utils.functools.reduce",
    "torch._higher_order_ops.torchbind.logging.os.system",
    "_operator.attrgetter",
    "_operator.methodcaller",
    "_operator.call",
    "_operator.pow",
    "math.factorial",
    "#AOTIPythonRun:system",
]


@pytest.mark.parametrize("call", CALLS)
def test_programs_call_only_operators_that_compute(
    call: str, tamper: Any, open_foreign: Any
) -> None:
    def change(record: Any) -> None:
        record["graph_module"]["graph"]["nodes"][0]["target"] = call

    with pytest.raises(NotTrusted, match="a call of"):
        open_foreign(tamper(change))


def test_operators_among_the_arguments(tamper: Any, open_foreign: Any) -> None:
    def change(record: Any) -> None:
        node = record["graph_module"]["graph"]["nodes"][0]
        node["inputs"].append({"name": "f", "arg": {"as_operator": "torch.os.system"}, "kind": 1})

    with pytest.raises(NotTrusted, match=r"torch\.os\.system"):
        open_foreign(tamper(change))


SIZES = [
    "__import__('os').system('true')",
    "().__class__",
    "9**9**9**9",
    "Pow(Integer(9), Pow(Integer(9), Integer(9)))",
    "Pow(Integer(9), Integer(999999999))",
    "1 << 999999999999",
    "Integer(99999999999999999999)",
    "s0" + "+s0" * 5000,
    "(" * 900 + "s0" + ")" * 900,
]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size[:24])
def test_sizes_are_short_arithmetic(size: str, tamper: Any, open_foreign: Any) -> None:
    changed = []

    def replace(value: Any) -> None:
        for each in value.values() if isinstance(value, dict) else value:
            if isinstance(each, dict) and "expr_str" in each:
                changed.append(each)
                each["expr_str"] = size
            elif isinstance(each, dict | list):
                replace(each)

    bad = tamper(replace)
    assert changed
    with pytest.raises(NotTrusted, match="expression"):
        open_foreign(bad)


def test_weights_declared_larger_than_the_file(tamper: Any, open_foreign: Any) -> None:
    def change(record: Any) -> None:
        meta = next(iter(record["config"].values()))["tensor_meta"]
        meta["sizes"] = [{"as_int": 1 << 20}, {"as_int": 1 << 20}]
        meta["strides"] = [{"as_int": 0}, {"as_int": 0}]

    with pytest.raises(TooLarge, match="declares"):
        open_foreign(tamper(change, "model_weights_config.json"))


def test_deeply_nested_programs(
    program: Path, tmp_path: Path, rewrite: Any, open_foreign: Any
) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    rewrite(program, tmp_path / "bad.pt2", lambda n, b: deep if n.endswith("model.json") else b)
    with pytest.raises(ConversionFailed, match="nested"):
        open_foreign(tmp_path / "bad.pt2")


def directory_of(body: bytes) -> tuple[int, int, int]:
    """The offset and size of a zip file's central directory, and where its end record is."""
    end = body.rindex(b"PK\5\6")
    size, offset = struct.unpack("<II", body[end + 12 : end + 20])
    return offset, size, end


def join_archives(seen_by_offset: bytes, seen_by_end: bytes) -> bytes:
    """One file that is the first archive to readers that trust the directory's offset, as PyTorch's
    does, and the second to those that look before the end record, as Python's does."""
    first, size, first_end = directory_of(seen_by_offset)
    second, same_size, second_end = directory_of(seen_by_end)
    assert size == same_size
    start = first_end  # where the second archive begins
    shift = start + second_end - size - first  # what Python adds to each offset
    directory = bytearray(seen_by_end[second : second + size])
    at = 0
    while at < size:
        offset = struct.unpack("<I", directory[at + 42 : at + 46])[0] + start - shift
        directory[at + 42 : at + 46] = struct.pack("<I", offset % (1 << 32))
        at += 46 + sum(struct.unpack("<HHH", directory[at + 28 : at + 34]))
    end = bytearray(seen_by_end[second_end:])
    end[12:20] = struct.pack("<II", size, first)
    return bytes(seen_by_offset[:first_end] + seen_by_end[:second] + directory + end)


def test_archives_that_two_readers_see_differently(
    program: Path, tamper: Any, mark: Path, tmp_path: Path, rewrite: Any, open_foreign: Any
) -> None:
    torch = pytest.importorskip("torch")
    evil = tamper(lambda record: record.update(guards_code=[f"{touch(mark)} is None"]))
    rewrite(program, tmp_path / "plain.pt2", lambda name, body: body)
    both = tmp_path / "both.pt2"
    both.write_bytes(join_archives(evil.read_bytes(), (tmp_path / "plain.pt2").read_bytes()))
    with zipfile.ZipFile(both) as archive:
        by_python = archive.read("net/models/model.json")
    by_torch = torch._C.PyTorchFileReader(str(both)).get_record("models/model.json")
    assert by_python != by_torch, "the archive shows both readers the same"
    open_foreign(both).export()
    assert not mark.exists()


# ONNX


def write_graph(path: Path, location: str, *, where: str = "initializer") -> None:
    """An ONNX file with weights kept at `location`, named at one of the places that can."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    w = onnx.TensorProto(name="w", data_type=kind, dims=[4])
    w.data_location = onnx.TensorProto.EXTERNAL
    w.external_data.add(key="location", value=location)
    ends = [helper.make_tensor_value_info(name, kind, ["batch", 4]) for name in ("row", "same")]
    node = helper.make_node("Identity", ["row"], ["same"])
    constant = helper.make_node("Constant", [], ["w"], value=w)
    graph = helper.make_graph([node], "g", ends[:1], ends[1:])
    if where == "initializer":
        graph.initializer.append(w)
    elif where == "sparse":
        attribute = node.attribute.add(name="sparse_value", type=onnx.AttributeProto.SPARSE_TENSOR)
        attribute.sparse_tensor.values.CopyFrom(w)
        graph.node[0].CopyFrom(node)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if where == "function":
        inner = helper.make_graph([constant], "inner", [], [ends[0]])
        branch = helper.make_node("If", ["c"], ["o"], then_branch=inner, else_branch=inner)
        model.functions.add(name="F", domain="local").node.append(branch)
    if where == "training":
        model.training_info.add().initialization.node.append(constant)
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("where", ["initializer", "sparse", "function", "training"])
@pytest.mark.parametrize("location", ["../secret", "folder/secret", "link"])
def test_onnx_weights_outside_the_folder(
    tmp_path: Path, location: str, where: str, open_foreign: Any
) -> None:
    model, elsewhere = tmp_path / "model", tmp_path / "elsewhere"
    model.mkdir()
    elsewhere.mkdir()
    for secret in (tmp_path / "secret", elsewhere / "secret"):
        secret.write_bytes(bytes(16))
    (model / "folder").symlink_to(elsewhere)
    (model / "link").symlink_to(tmp_path / "secret")
    write_graph(model / "g.onnx", location, where=where)
    with pytest.raises(NotTrusted, match="stored in"):
        open_foreign(model / "g.onnx")


def test_onnx_weights_linked_inside_the_folder(tmp_path: Path, open_foreign: Any) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "w.bin").write_bytes(bytes(16))
    (tmp_path / "folder").symlink_to(tmp_path / "real")
    write_graph(tmp_path / "g.onnx", "folder/w.bin")
    with pytest.raises(NotTrusted, match="stored in"):
        open_foreign(tmp_path / "g.onnx")


@pytest.mark.parametrize("location", ["*/_ORT_MEM_ADDR_/*", "missing.bin", "."])
def test_onnx_weights_that_are_no_file(tmp_path: Path, location: str, open_foreign: Any) -> None:
    write_graph(tmp_path / "g.onnx", location)
    with pytest.raises(ConversionFailed, match="does not exist"):
        open_foreign(tmp_path / "g.onnx")


# Keras


@pytest.fixture
def keras() -> Any:
    return pytest.importorskip("keras")


def function(name: str, module: str) -> dict[str, Any]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


PICKLED = {"class_name": "__lambda__", "config": {"value": {"code": "", "defaults": None}}}
STRANGERS: dict[str, Any] = {
    "a lambda": PICKLED,
    "a function of Python": function("system", "os"),
    "a function of Keras that opens files": function("get_file", "keras.utils"),
    "an activation's name in another module": function("relu", "keras.utils"),
    "a way to build other objects": function("deserialize", "builtins"),
    "a class of Python": {"module": "subprocess", "class_name": "Popen", "config": {"args": "id"}},
    "a class of Keras that runs code": {"class_name": "TFSMLayer", "config": {"filepath": "x"}},
    "a layer's name in another module": {
        "module": "keras.src.export.saved_model",
        "class_name": "Dense",
        "config": {"units": 1},
        "registered_name": None,
    },
    "a name that is no text": {"class_name": ["Dense"], "config": {}},
}


def nest(keras: Any) -> Any:
    """A model with a compiled model inside."""
    inner = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3)], name="inner")
    inner.compile("adam", "mse")
    outer = keras.Sequential([keras.layers.Input((4,)), inner, keras.layers.Dense(2)])
    outer.compile("adam", "mse")
    return outer


def inner_of(config: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = config["config"]["layers"][1]
    assert found["class_name"] == "Sequential"
    return found


def write_keras(model: Any, path: Path, change: Any, rewrite: Any) -> Path | None:
    """The model in the form that the suffix says, its configuration changed; answers weights."""
    if path.suffix == ".keras":
        whole = path.with_name("whole.keras")
        model.save(whole)

        def change_entry(name: str, body: bytes) -> bytes:
            if name != "config.json":
                return body
            config = json.loads(body)
            change(config)
            return json.dumps(config).encode()

        rewrite(whole, path, change_entry)
        return None
    if path.suffix == ".h5":
        import h5py

        model.save(path)
        with h5py.File(path, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            change(config)
            file.attrs["model_config"] = json.dumps(config)
        return None
    config = json.loads(model.to_json())
    change(config)
    path.write_text(json.dumps(config))
    model.save_weights(path.with_suffix(".weights.h5"))
    return path.with_suffix(".weights.h5")


@pytest.mark.parametrize("form", ["keras", "h5", "json"])
@pytest.mark.parametrize("name", STRANGERS)
def test_keras_objects_deep_inside(
    keras: Any, tmp_path: Path, rewrite: Any, open_foreign: Any, name: str, form: str
) -> None:
    """Also where Keras looks though a layer does not: in what a nested model was built from."""

    def change(config: dict[str, Any]) -> None:
        inner_of(config)["config"]["layers"][1]["config"]["kernel_initializer"] = {
            "class_name": "Constant",
            "module": "keras.initializers",
            "config": {"value": [STRANGERS[name]]},
            "registered_name": None,
        }

    weights = write_keras(nest(keras), tmp_path / f"net.{form}", change, rewrite)
    with pytest.raises(NotTrusted, match="not Keras's own"):
        open_foreign(tmp_path / f"net.{form}", weights=weights)


@pytest.mark.parametrize("name", STRANGERS)
def test_keras_objects_to_build_from(
    keras: Any, tmp_path: Path, rewrite: Any, open_foreign: Any, name: str
) -> None:
    def change(config: dict[str, Any]) -> None:
        inner_of(config)["build_config"] = {"input_shape": [None, 4], "more": STRANGERS[name]}

    write_keras(nest(keras), tmp_path / "net.keras", change, rewrite)
    with pytest.raises(NotTrusted):
        open_foreign(tmp_path / "net.keras")


@pytest.mark.parametrize("form", ["keras", "h5", "json"])
def test_training_settings_of_nested_models_are_ignored(
    keras: Any,
    tmp_path: Path,
    rewrite: Any,
    open_foreign: Any,
    form: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the training settings were used")

    def change(config: dict[str, Any]) -> None:
        settings = {"optimizer": "adam", "loss": PICKLED, "metrics": [function("system", "os")]}
        inner_of(config)["compile_config"] = config["compile_config"] = settings

    weights = write_keras(nest(keras), tmp_path / f"net.{form}", change, rewrite)
    monkeypatch.setattr(keras.Model, "compile_from_config", refuse)
    source = open_foreign(tmp_path / f"net.{form}", weights=weights)
    assert [spec.shape for spec in source.outputs] == [(None, 2)]


def test_an_archive_that_is_also_hdf5(
    keras: Any, mark: Path, tmp_path: Path, open_foreign: Any
) -> None:
    """A zip file before an HDF5 file, in its user block: Keras goes by the file's name."""
    import h5py

    layer = keras.layers.Lambda(eval(f"lambda x: ({touch(mark)}, x)[1]"))
    evil = keras.Sequential([keras.layers.Input((4,)), layer])
    mark.unlink(missing_ok=True)
    evil.save(tmp_path / "evil.h5")
    plain = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
    plain.save(tmp_path / "plain.keras")
    both = tmp_path / "both.h5"
    archive = (tmp_path / "plain.keras").read_bytes()
    block = 1 << (len(archive) - 1).bit_length()
    with (
        h5py.File(tmp_path / "evil.h5") as before,
        h5py.File(both, "w", userblock_size=max(512, block)) as after,
    ):
        for name in before:
            before.copy(name, after)
        for name, value in before.attrs.items():
            after.attrs[name] = value
    with both.open("r+b") as file:
        file.write(archive)
        start = file.seek(0, 2)
        offset, size, at = directory_of(archive)
        end = bytearray(archive[at:])
        end[16:20] = struct.pack("<I", start)
        file.write(archive[offset : offset + size] + end)
    with zipfile.ZipFile(both) as good:
        assert "config.json" in good.namelist()
    assert h5py.is_hdf5(both)
    source = open_foreign(both)
    assert [spec.shape for spec in source.outputs] == [(None, 2)]
    assert not mark.exists()


def test_a_bundle_with_code_is_not_exported(keras: Any, digits: Any, tmp_path: Path) -> None:
    from modelpad.bundle import write_bundle
    from modelpad.convert.export import export_bundle

    files: dict[str, Any] = {name: digits.path(name) for name in digits.manifest.files}
    config = json.loads(nest(keras).to_json())
    config["config"]["layers"][-1]["config"]["activation"] = function("system", "os")
    files["model.weights.h5"] = b""
    files["architecture.json"] = json.dumps(config).encode()
    bundle = write_bundle(tmp_path / "bundle", digits.manifest, files)
    with pytest.raises(NotTrusted, match=r"architecture\.json"):
        export_bundle(bundle, "keras", tmp_path / "out")


# scikit-learn


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("sklearn.datasets._openml", "TemporaryDirectory"),  # imported there, from elsewhere
        ("sklearn.datasets._openml", "fetch_openml"),
        ("sklearn", "Missing"),
        ("tempfile", "TemporaryDirectory"),
    ],
)
def test_skops_types_that_are_not_of_scikit_learn(
    module: str, name: str, tmp_path: Path, rewrite: Any, open_foreign: Any
) -> None:
    skops = pytest.importorskip("skops.io")
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
    skops.dump(model, tmp_path / "good.skops")
    assert open_foreign(tmp_path / "good.skops").framework == "scikit-learn"

    def change(entry: str, body: bytes) -> bytes:
        if entry != "schema.json":
            return body
        return json.dumps(json.loads(body) | {"__module__": module, "__class__": name}).encode()

    rewrite(tmp_path / "good.skops", tmp_path / "bad.skops", change)
    with pytest.raises(NotTrusted, match=name):
        open_foreign(tmp_path / "bad.skops")


# Files that never end, or crash their framework


def write_endless(path: Path) -> None:
    """An ONNX graph whose loop never ends."""
    onnx = pytest.importorskip("onnx")
    helper, number, truth = onnx.helper, onnx.TensorProto.FLOAT, onnx.TensorProto.BOOL
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["a"], ["b"])],
        "body",
        [value("i", onnx.TensorProto.INT64, []), value("go", truth, []), value("a", number, [4])],
        [value("on", truth, []), value("b", number, [4])],
    )
    yes = helper.make_tensor("yes", truth, [], [True])
    nodes = [
        helper.make_node("Constant", [], ["yes"], value=yes),
        helper.make_node("Loop", ["", "yes", "x"], ["y"], body=body),
    ]
    ends = [value(name, number, ["batch", 4]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)


@pytest.mark.slow
def test_an_endless_loop_is_stopped(run_modelpad: Any, tmp_path: Path) -> None:
    write_endless(tmp_path / "loop.onnx")
    (tmp_path / "temporary").mkdir()
    given = {"TMPDIR": str(tmp_path / "temporary")}
    done = run_modelpad("import", "loop.onnx", "--timeout", "8", **given)
    assert done.returncode == 1
    assert "longer than 8 seconds" in done.stderr
    assert "--timeout" in done.stderr.splitlines()[-1]
    assert not list((tmp_path / "temporary").iterdir())
    assert not list((tmp_path / "store").rglob("manifest.json"))


@pytest.mark.parametrize("command", ["import", "predict"])
def test_a_file_that_crashes_its_framework(run_modelpad: Any, tmp_path: Path, command: str) -> None:
    """XGBoost reads nested arrays by recursion, without a limit."""
    pytest.importorskip("xgboost")
    head = b"{L" + (7).to_bytes(8, "big") + b"learner"
    (tmp_path / "deep.ubj").write_bytes(head + b"[" * 3_000_000)
    done = run_modelpad(command, "deep.ubj", *(["[1]"] if command == "predict" else []))
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("  "), done.stderr
