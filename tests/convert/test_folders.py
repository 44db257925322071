"""Folders of other tools: their models are found, opened and served under their own names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelpad.convert import ImportRequest
from modelpad.convert.folders import FolderModel, build_request, find_models, open_model
from modelpad.errors import ConversionFailed, ModelpadError, NotTrusted, TooLarge, UsageError

CONFIG = """
name: "{name}"
platform: "onnxruntime_onnx"   # as Triton's examples do
max_batch_size : 8
input [ {{ name: "row", data_type: TYPE_FP32, dims: [ 2 ] }} ]
output {{ name: "result" data_type: TYPE_FP32 dims: [ 2 ] {labels} }}
dynamic_batching {{ }}
"""


@pytest.fixture
def repository(tmp_path: Path, write_onnx: Any) -> Path:
    """A Triton repository: `Doubler` with versions 1 and 3, and models that Triton alone runs."""
    root = tmp_path / "models"
    write_onnx(root / "Doubler" / "1" / "model.onnx", 2)
    write_onnx(root / "Doubler" / "3" / "model.onnx", 6)
    write_onnx(root / "bare" / "1" / "model.onnx", 5)
    (root / "Doubler" / "config.pbtxt").write_text(CONFIG.format(name="Doubler", labels=""))
    (root / "both").mkdir()
    (root / "both" / "config.pbtxt").write_text('platform: "ensemble"\nensemble_scheduling { }')
    (root / "script" / "1").mkdir(parents=True)
    (root / "script" / "1" / "model.py").write_text("raise SystemExit('run')")
    (root / "script" / "config.pbtxt").write_text('backend: "python"')
    return root


def names_of(path: Path) -> list[tuple[str, int]]:
    return [(model.name, model.version) for model in find_models(path).models]


def left_out(path: Path) -> dict[str, str]:
    return {part.name: part.reason.message for part in find_models(path).left_out}


def refusal(path: Path) -> ModelpadError:
    with pytest.raises(ModelpadError) as caught:
        find_models(path)
    return caught.value


# Triton


def test_a_triton_repository_has_names_and_versions(repository: Path) -> None:
    assert names_of(repository) == [("Doubler", 1), ("Doubler", 3), ("bare", 1)]
    assert names_of(repository / "Doubler") == [("Doubler", 1), ("Doubler", 3)]
    assert names_of(repository / "Doubler" / "3") == [("Doubler", 1)]
    assert left_out(repository) == {
        "both": "The model 'both' is an ensemble, which passes requests on to other models.",
        "script": "The model 'script' is Python code for Triton's python backend, which only"
        " Triton runs.",
    }


@pytest.mark.parametrize(
    ("policy", "versions"),
    [
        ("latest { num_versions: 1 }", [3]),
        ("latest { num_versions: 2 }", [1, 3]),
        ("latest { }", [3]),
        ("all { }", [1, 3]),
        ("specific { versions: [ 1, 9 ] }", [1]),
        ("specific: { versions: 1 versions: 3 }", [1, 3]),
    ],
)
def test_a_version_policy_is_kept(repository: Path, policy: str, versions: list[int]) -> None:
    path = repository / "Doubler" / "config.pbtxt"
    path.write_text(path.read_text() + f"version_policy: {{ {policy} }}")
    assert [model.version for model in find_models(repository / "Doubler").models] == versions


def test_the_name_and_the_file_are_those_of_the_configuration(
    repository: Path, write_onnx: Any
) -> None:
    folder = repository / "Doubler"
    for version in ("1", "3"):
        (folder / version / "model.onnx").rename(folder / version / "net.onnx")
    text = CONFIG.format(name="my doubler/2", labels="") + 'default_model_filename: "net.onnx"'
    (folder / "config.pbtxt").write_text(text)
    model = find_models(folder).models[0]
    assert (model.foreign_name, model.name) == ("my doubler/2", "my-doubler-2")
    assert model.path.name == "net.onnx"
    assert model.notes == ("ignored in config.pbtxt: dynamic_batching",)


def test_a_label_file_becomes_class_names(repository: Path, tmp_path: Path) -> None:
    folder = repository / "Doubler"
    (folder / "names.txt").write_text("tabby, tabby cat\ncrane\ncrane\n")
    labels = 'label_filename: "names.txt"'
    (folder / "config.pbtxt").write_text(CONFIG.format(name="Doubler", labels=labels))
    model = find_models(folder).models[0]
    assert model.labels == {"result": ("tabby, tabby cat", "crane", "crane (2)")}
    request = build_request(model, ImportRequest(), tmp_path)
    assert request.outputs == (f"result=labels:@{tmp_path / 'labels-0.txt'}",)
    own = build_request(model, ImportRequest(outputs=("tensor",)), tmp_path)
    assert own.outputs == ("tensor",)


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ("sequence_batching { }", "is stateful"),
        ("model_transaction_policy { decoupled: true }", "several responses"),
        ('input { name: "z" dims: 1 reshape { shape: [ ] } }', "reshapes its tensors"),
        ('backend: "vllm"', "needs Triton's backend 'vllm'"),
        ('backend: "tensorrt"', "is a TensorRT engine, which runs on one kind of GPU only"),
        ('default_model_filename: "../../secret.onnx"', "default_model_filename is '../../sec"),
        ('default_model_filename: "other.onnx"', "Doubler/1 contains none of: other.onnx."),
    ],
)
def test_what_only_triton_runs_is_refused_with_the_reason(
    repository: Path, extra: str, reason: str
) -> None:
    path = repository / "Doubler" / "config.pbtxt"
    path.write_text(path.read_text() + extra)
    assert reason in refusal(repository / "Doubler").message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name: \n\n ]", "line 3: ']' is not a value"),
        ('name: "x\n', "line 1: '\"x\\n' is not expected"),
        ("max_batch_size 8", "line 1: a colon is missing"),
        ("input [ { ", "line 1: 'the end' is not the name of a field"),
        ("a { " * 100, "nested more than 32 deep"),
        ("dims: 1.2.3", "'1.2.3' is not a number"),
    ],
)
def test_a_damaged_configuration_names_the_line(repository: Path, text: str, reason: str) -> None:
    (repository / "Doubler" / "config.pbtxt").write_text(text)
    assert reason in refusal(repository / "Doubler").message


def test_text_format_is_read_as_protobuf_reads_it() -> None:
    from modelpad.convert.folders.pbtxt import parse_pbtxt

    text = r"""
    name: "a\"b\303\251" 'c' ; count: -1, share: 0.5f  hex: 0x10 kind: TYPE_FP32
    dims: [ 1, -1 ] dims: 3 parameters { key: "k" value: { string_value: "v" } }
    parameters < key: "l" > # the old brackets
    list [ { a: 1 }, { a: 2 } ]
    """
    assert parse_pbtxt(text) == {
        "name": ['a"béc'],
        "count": [-1],
        "share": [0.5],
        "hex": [16],
        "kind": ["TYPE_FP32"],
        "dims": [1, -1, 3],
        "parameters": [{"key": ["k"], "value": [{"string_value": ["v"]}]}, {"key": ["l"]}],
        "list": [{"a": [1]}, {"a": [2]}],
    }


def write_script(folder: Path, config: str) -> Path:
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):  # type: ignore[name-defined,misc]
        def forward(self, x: Any, y: Any) -> Any:
            return x + 2 * y, x - y

    (folder / "1").mkdir(parents=True)
    example = torch.ones(2, 4)
    torch.jit.trace(Net(), (example, example)).save(str(folder / "1" / "model.pt"))
    (folder / "config.pbtxt").write_text(config)
    return folder


SCRIPT = """
backend: "pytorch"
max_batch_size: {batch}
input [
  {{ name: "INPUT__1" data_type: TYPE_FP32 dims: [ {lead} 4 ] }},
  {{ name: "INPUT__0" data_type: TYPE_FP32 dims: [ {lead} 4 ] }}
]
output [
  {{ name: "OUTPUT__0" data_type: TYPE_FP32 dims: [ {lead} 4 ] }},
  {{ name: "OUTPUT__1" data_type: TYPE_FP32 dims: [ {lead} 4 ] }}
]
"""


@pytest.mark.parametrize(("batch", "lead", "axis"), [(8, "", 0), (0, "-1,", None)])
def test_torchscript_has_the_tensors_of_its_configuration(
    tmp_path: Path, batch: int, lead: str, axis: int | None
) -> None:
    folder = write_script(tmp_path / "sums", SCRIPT.format(batch=batch, lead=lead))
    (model,) = find_models(folder).models
    assert model.inputs == ("INPUT__0=tensor:float32[4]", "INPUT__1=tensor:float32[4]")
    with pytest.raises(NotTrusted, match="TorchScript"):
        open_model(model, build_request(model, ImportRequest(), tmp_path))
    source = open_model(model, build_request(model, ImportRequest(trust=True), tmp_path))
    assert [spec.name for spec in source.inputs] == ["INPUT__0", "INPUT__1"]
    assert [spec.name for spec in source.outputs] == ["OUTPUT__0", "OUTPUT__1"]
    assert {spec.batch_axis for spec in (*source.inputs, *source.outputs)} == {axis}
    one, two = np.ones((3, 4), np.float32), np.full((3, 4), 2, np.float32)
    results = source.run({"INPUT__1": two, "INPUT__0": one})
    np.testing.assert_array_equal(results["OUTPUT__0"], one + 2 * two)
    np.testing.assert_array_equal(results["OUTPUT__1"], one - two)
    graph = source.export().graph
    assert [value.name for value in graph.input] == ["INPUT__0", "INPUT__1"]
    assert [value.name for value in graph.output] == ["OUTPUT__0", "OUTPUT__1"]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("INPUT__1", "left", "The order of the tensors of 'sums' is unknown: left, INPUT__0."),
        ("TYPE_FP32", "TYPE_STRING", "The input 'INPUT__0' has the type TYPE_STRING."),
        ("output [", "skipped [", "which does not declare its tensors"),
        ("max_batch_size: 8", "max_batch_size: 0", "TorchScript without a batch axis"),
    ],
)
def test_torchscript_that_is_not_described_is_refused(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    config = SCRIPT.format(batch=8, lead="").replace(old, new)
    assert reason in refusal(write_script(tmp_path / "sums", config)).message


FIL = """
backend: "fil"
max_batch_size: 32
input [ {{ name: "input__0" data_type: TYPE_FP32 dims: [ 4 ] }} ]
output [ {{ name: "output__0" data_type: TYPE_FP32 dims: [ {size} ] }} ]
parameters [
  {{ key: "model_type" value: {{ string_value: "xgboost_json" }} }},
  {{ key: "predict_proba" value: {{ string_value: "{proba}" }} }},
  {{ key: "output_class" value: {{ string_value: "true" }} }}
]
"""


def write_booster(folder: Path, config: str) -> Path:
    xgboost = pytest.importorskip("xgboost")
    rows = np.random.default_rng(1).normal(size=(60, 4)).astype(np.float32)
    data = xgboost.DMatrix(rows, (rows.sum(axis=1) > 0) + (rows[:, 0] > 1))
    booster = xgboost.train({"objective": "multi:softprob", "num_class": 3}, data, 4)
    (folder / "1").mkdir(parents=True)
    booster.save_model(folder / "1" / "xgboost.json")
    (folder / "config.pbtxt").write_text(config)
    return folder


def test_a_booster_of_the_fil_backend(tmp_path: Path) -> None:
    folder = write_booster(tmp_path / "trees", FIL.format(size=3, proba="true"))
    (model,) = find_models(folder).models
    source = open_model(model, ImportRequest())
    assert [spec.name for spec in source.inputs] == ["input__0"]
    assert [spec.name for spec in source.outputs] == ["output__0"]
    assert source.run({"input__0": np.ones((2, 4), np.float32)})["output__0"].shape == (2, 3)


def test_a_booster_that_is_to_answer_with_something_else_is_refused(tmp_path: Path) -> None:
    folder = write_booster(tmp_path / "trees", FIL.format(size=3, proba="false"))
    assert "class numbers (output_class without predict_proba)" in refusal(folder).message
    (folder / "config.pbtxt").write_text(FIL.format(size=1, proba="true"))
    (model,) = find_models(folder).models
    with pytest.raises(ConversionFailed, match="output__0 has 1 values; the model gives 3"):
        open_model(model, ImportRequest())


# TensorFlow Serving


def write_saved_models(base: Path, *versions: str) -> Path:
    for version in versions:
        (base / version / "variables").mkdir(parents=True)
        (base / version / "saved_model.pb").write_bytes(b"\x08\x01")
    return base


def test_a_base_path_has_versions(tmp_path: Path) -> None:
    base = write_saved_models(tmp_path / "half_plus_two", "1", "00000123", "temp-3")
    assert names_of(base) == [("half_plus_two", 1), ("half_plus_two", 123)]
    assert names_of(base / "00000123") == [("half_plus_two", 123)]
    assert names_of(base / "00000123" / "saved_model.pb") == [("half_plus_two", 123)]
    write_saved_models(tmp_path / "other", "2")
    assert names_of(tmp_path) == [("half_plus_two", 1), ("half_plus_two", 123), ("other", 2)]


def test_only_the_newest_versions_of_very_many_are_taken(tmp_path: Path) -> None:
    base = write_saved_models(tmp_path / "net", *map(str, range(1, 31)))
    assert [version for _, version in names_of(base)] == list(range(21, 31))


def test_models_config_names_the_models(tmp_path: Path) -> None:
    write_saved_models(tmp_path / "half_plus_two", "1", "2")
    (tmp_path / "models.config").write_text(
        """model_config_list {
          config { name: "Half" base_path: "/models/half_plus_two" model_platform: "tensorflow"
                   model_version_policy { specific { versions: 2 } } }
          config { name: "gone" base_path: "../outside" }
        }"""
    )
    assert names_of(tmp_path) == [("Half", 2)]
    assert "The base path '../outside' is not in" in left_out(tmp_path)["gone"]


# MLflow

MLMODEL = """artifact_path: {artifact}
flavors:
  python_function:
    env:
      conda: conda.yaml
      virtualenv: python_env.yaml
    loader_module: mlflow.{flavor}
    python_version: 3.11.4
  {flavor}:
{options}
mlflow_version: 2.9.2
signature:
  inputs: '{inputs}'
  outputs: '[{{"type": "tensor", "tensor-spec": {{"dtype": "float32", "shape": [-1]}}}}]'
  params: null
utc_time_created: '2024-01-02 03:04:05.678901'
"""
COLUMNS = """[{"type": "double", "name": "it''s long", "required": true}, {"type":
    "double", "name": "width"}]"""


def write_mlflow(
    folder: Path, flavor: str, options: str, inputs: str = COLUMNS, artifact: str = "net"
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    options = "\n".join(f"    {line}" for line in options.splitlines())
    text = MLMODEL.format(flavor=flavor, options=options, inputs=inputs, artifact=artifact)
    (folder / "MLmodel").write_text(text)
    return folder


def test_an_mlflow_model_with_its_columns(tmp_path: Path, write_onnx: Any) -> None:
    folder = write_mlflow(tmp_path / "model", "onnx", "data: model.onnx\nonnx_version: 1.15.0")
    write_onnx(folder / "model.onnx")
    (model,) = find_models(folder).models
    assert (model.name, model.path.name) == ("net", "model.onnx")
    source = open_model(model, ImportRequest())
    assert source.inputs[0].columns == ("it's long", "width")


@pytest.mark.parametrize(
    ("flavor", "options", "file"),
    [
        ("keras", "data: data\nsave_format: keras", "data/model.keras"),
        ("tensorflow", "data: data\nmodel_type: keras", "data/model.keras"),
        ("tensorflow", "saved_model_dir: tf2model\nmeta_graph_tags:\n- serve", "tf2model"),
        ("sklearn", "code: null\npickled_model: model.pkl", "model.pkl"),
        ("sklearn", "pickled_model: model.skops", "model.skops"),
        ("xgboost", "data: model.ubj\nmodel_format: ubj", "model.ubj"),
        ("lightgbm", "data: model.lgb", "model.lgb"),
        ("catboost", "data: model.cb\nsave_format: cbm", "model.cb"),
        ("pytorch", "model_data: data\npytorch_version: 2.1.0", "data/model.pth"),
    ],
)
def test_the_file_of_an_mlflow_flavor(tmp_path: Path, flavor: str, options: str, file: str) -> None:
    folder = write_mlflow(tmp_path / "wine quality", flavor, options)
    path = folder / file
    path.parent.mkdir(exist_ok=True)
    path.mkdir() if "." not in file else path.write_bytes(b"1")
    (model,) = find_models(folder).models
    assert (model.name, model.path) == ("wine-quality", path)


def test_an_mlflow_pytorch_model_takes_its_inputs_from_the_signature(tmp_path: Path) -> None:
    spec = '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3, ?]}}]'
    inputs = spec.replace("?", "224")
    folder = write_mlflow(tmp_path / "net", "pytorch", "model_data: data", inputs)
    (folder / "data").mkdir()
    (folder / "data" / "model.pth").write_bytes(b"1")
    (model,) = find_models(folder).models
    assert model.inputs == ("tensor:float32[3,224]",)
    write_mlflow(folder, "pytorch", "model_data: data", spec)
    assert refusal(folder).message.startswith("net/MLmodel cannot be read: ")


@pytest.mark.parametrize(
    ("flavor", "options", "reason"),
    [
        ("spark", "model_data: sparkml", "has the flavor spark, which is not supported"),
        ("python_function2", "a: b", "has the flavor python_function2"),
        ("onnx", "data: gone.onnx", "names 'gone.onnx', which does not exist"),
        ("onnx", "data: /etc/passwd", "names '/etc/passwd', which does not exist"),
        ("onnx", "data: &a model.onnx", "'&a model.onnx' is YAML that MLflow does not write"),
        ("onnx", "data: !!python/object:os.system x", "is YAML that MLflow does not write"),
        ("onnx", "data: 'x", "follows a quote"),
        ("onnx", "data: a\ndata: b", "'data' is given twice"),
    ],
)
def test_an_mlflow_model_that_cannot_be_served(
    tmp_path: Path, flavor: str, options: str, reason: str
) -> None:
    folder = write_mlflow(tmp_path / "net", flavor, options)
    assert reason in refusal(folder).message


def test_mlflow_paths_stay_in_the_folder(tmp_path: Path, write_onnx: Any) -> None:
    write_onnx(tmp_path / "outside.onnx")
    folder = write_mlflow(tmp_path / "net", "onnx", "data: ../outside.onnx")
    assert isinstance(refusal(folder), NotTrusted)


def test_yaml_is_read_as_yaml_reads_it() -> None:
    yaml = pytest.importorskip("yaml")
    from modelpad.convert.folders.yaml_subset import parse_yaml

    record = {
        "empty": [{}, [], None, ""],
        "texts": ["it's", 'a "b"', "a: b", "- x", "# no", " lead", "two\n\nlines", "é😀" * 50],
        "long": json.dumps([{"name": "sepal length (cm)", "type": "double"}] * 20),
        "numbers": [1, -2, 1.5, "1.0", "007x", True, "true"],
        "deep": {"a b": {"c": [{"d": 1, "e": [2]}, [3, [4]]]}, "é": {"x": "C:\\dir"}},
    }
    for unicode in (True, False):
        text = yaml.safe_dump(record, default_flow_style=False, allow_unicode=unicode)
        assert parse_yaml(text) == record


# Files


def test_a_folder_with_one_file_has_the_folders_name(tmp_path: Path, write_onnx: Any) -> None:
    write_onnx(tmp_path / "Iris v2" / "model.onnx")
    (tmp_path / "Iris v2" / "README.md").write_text("text")
    assert names_of(tmp_path / "Iris v2") == [("Iris-v2", 1)]
    write_onnx(tmp_path / "collection" / "mobilenet.onnx")
    assert names_of(tmp_path / "collection") == [("mobilenet", 1)]


def test_a_folder_of_models_of_any_format(tmp_path: Path, write_onnx: Any) -> None:
    write_onnx(tmp_path / "One.onnx")
    write_onnx(tmp_path / "two" / "model.onnx")
    (tmp_path / "three.txt").write_text("tree\nversion=v4\n")
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "settings.json").write_text("{}")
    (tmp_path / "four.json").write_text('{"learner": {}}')
    (tmp_path / "net.pkl").write_bytes(b"\x80\x04.")
    (tmp_path / ".hidden.onnx").write_bytes(b"1")
    (tmp_path / "broken.onnx").touch()
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "train.py").touch()
    assert sorted(names_of(tmp_path)) == [
        ("One", 1),
        ("four", 1),
        ("net", 1),
        ("three", 1),
        ("two", 1),
    ]
    assert left_out(tmp_path) == {"broken.onnx": "broken.onnx is empty."}


def test_a_keras_2_pair_is_one_model(tmp_path: Path) -> None:
    for name in ("cats", "dogs"):
        (tmp_path / f"{name}.json").write_text('{"class_name": "Sequential", "config": []}')
        (tmp_path / f"{name}.weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    found = find_models(tmp_path).models
    assert [(model.name, model.weights) for model in found] == [
        ("cats", tmp_path / "cats.weights.h5"),
        ("dogs", tmp_path / "dogs.weights.h5"),
    ]
    single = tmp_path / "single"
    single.mkdir()
    (tmp_path / "cats.json").rename(single / "model.json")
    (tmp_path / "dogs.weights.h5").rename(single / "weights.h5")
    (model,) = find_models(single).models
    assert (model.name, model.weights) == ("single", single / "weights.h5")


def test_a_hugging_face_folder_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text("{}")
    (tmp_path / "bert" / "model.safetensors").write_bytes(b"1")
    (model,) = find_models(tmp_path / "bert").models
    assert model == FolderModel("bert", "bert", 1, tmp_path / "bert")


def test_two_models_of_one_name_are_refused(tmp_path: Path, write_onnx: Any) -> None:
    write_onnx(tmp_path / "net.onnx")
    (tmp_path / "Net.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(UsageError, match="would both be served as 'net'"):
        find_models(tmp_path)


# Hostile folders


def test_links_out_of_a_folder_are_not_followed(
    repository: Path, tmp_path: Path, write_onnx: Any
) -> None:
    outside = write_onnx(tmp_path / "outside" / "1" / "model.onnx")
    (repository / "linked").symlink_to(tmp_path / "outside")
    (repository / "link.onnx").symlink_to(outside)
    (repository / "inner").symlink_to(repository / "bare")
    (repository / "loop").symlink_to(repository / "loop")
    names = {name for name, _ in names_of(repository)}
    assert names == {"Doubler", "bare", "inner"}
    reasons = left_out(repository)
    assert reasons["linked"] == "linked leads out of models."
    assert reasons["link.onnx"] == "link.onnx leads out of models."


def test_class_names_are_not_read_from_elsewhere(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("a\nb\n")
    for name in ("../../secret.txt", "/etc/hostname", "linked.txt"):
        (repository / "Doubler" / "linked.txt").unlink(missing_ok=True)
        (repository / "Doubler" / "linked.txt").symlink_to(tmp_path / "secret.txt")
        text = CONFIG.format(name="Doubler", labels=f'label_filename: "{name}"')
        (repository / "Doubler" / "config.pbtxt").write_text(text)
        assert isinstance(refusal(repository / "Doubler"), NotTrusted)


def test_large_folders_and_files_are_refused(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "Doubler" / "config.pbtxt").write_bytes(b"#" * (1 << 21))
    assert isinstance(refusal(repository / "Doubler"), TooLarge)
    monkeypatch.setattr("modelpad.convert.folders.listing.MAX_ENTRIES", 3)
    many = tmp_path / "many"
    many.mkdir()
    for number in range(4):
        (many / f"{number}.onnx").touch()
    assert isinstance(refusal(many), TooLarge)


def test_deep_folders_are_not_searched(tmp_path: Path, write_onnx: Any) -> None:
    write_onnx(tmp_path / "a" / "b" / "c" / "model.onnx")
    assert "contains no model that is supported" in refusal(tmp_path).message


@pytest.mark.parametrize("text", ["- " * 100_000, "a:\n" * 50_000, "x: '" + "''\n" * 100_000])
def test_hostile_yaml_ends_soon(text: str) -> None:
    from modelpad.convert.folders.yaml_subset import parse_yaml

    with pytest.raises(ValueError, match="line"):
        parse_yaml(text)


@pytest.mark.parametrize("text", ["a{" * 100_000, "a: [" + "1," * 200_000, " #\n" * 300_000 + "]"])
def test_hostile_text_format_ends_soon(text: str) -> None:
    from modelpad.convert.folders.pbtxt import parse_pbtxt

    with pytest.raises(ValueError, match="line"):
        parse_pbtxt(text)
