"""Tensors exactly as a graph declares them: any name, scalars, text, no batch, an axis of one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from modelpad.server.protocols.protobuf import load_message
from tests.server.protocols.grpc_calls import ask
from tests.server.protocols.twenty_models import write_graph
from tests.warm_python import WarmPython

pytest.importorskip("onnx")
pytest.importorskip("grpc")
http_client = pytest.importorskip("tritonclient.http")
grpc_client = pytest.importorskip("tritonclient.grpc")

FLOAT, TEXT = 1, 8
LONG = "layer/" * 40 + "0"
# Input and output of a graph that adds one, by the model's name.
NAMES = {
    "slash": ("serving_default/x", "StatefulPartitionedCall/y"),
    "colon": ("x:0", "y:0"),
    "space": ("an input", "an output"),
    "unicode": ("größe", "結果"),
    "long": (LONG, f"{LONG}/out"),
    "number": ("1", "75"),
    "quote": ("it's {0}", '"y"'),
}
ROWS = np.array([[1.5, -2.0], [0.0, 4.25], [3.0, 3.0]], np.float32)
DTYPES: dict[str, Any] = {"FP32": np.float32, "BYTES": object}
WORDS = np.array([["one"], ["zwei"], ["trÿs 三"]], dtype=object)


def write_models(folder: Path) -> list[Path]:
    """A model for each name above, and one for each kind of tensor."""
    one = {"the one": np.array(1, np.float32)}
    for model, (given, told) in NAMES.items():
        nodes = [("Add", [given, "the one"], [told])]
        tensors = [(given, FLOAT, ["n", 2])], [(told, FLOAT, ["n", 2])]
        write_graph(folder / f"{model}.onnx", nodes, *tensors, one)
    write_graph(
        folder / "column.onnx",
        [("Mul", ["x", "two"], ["y"])],
        [("x", FLOAT, ["n", 1])],
        [("y", FLOAT, ["n", 1])],
        {"two": np.array(2, np.float32)},
    )
    write_graph(
        folder / "words.onnx",
        [("Identity", ["text"], ["same"])],
        [("text", TEXT, ["n", 1])],
        [("same", TEXT, ["n", 1])],
    )
    write_graph(
        folder / "summary.onnx",
        [
            ("ReduceSum", ["x"], ["total"], {"keepdims": 0}),
            ("Cast", ["total"], ["told"], {"to": TEXT}),
            ("Identity", ["x"], ["same"]),
        ],
        [("x", FLOAT, ["n", 2])],
        [("total", FLOAT, []), ("told", TEXT, []), ("same", FLOAT, ["n", 2])],
    )
    write_graph(
        folder / "fixed.onnx",
        [("ReduceMax", ["x"], ["best"], {"axes": [1], "keepdims": 0})],
        [("x", FLOAT, [1, 4])],
        [("best", FLOAT, [1])],
    )
    return sorted(folder.glob("*.onnx"))


@pytest.fixture(scope="module")
def addresses(
    tmp_path_factory: pytest.TempPathFactory,
    start_serving: Callable[..., AbstractContextManager[tuple[Any, str]]],
    warm_python: WarmPython,
) -> Iterator[tuple[str, str]]:
    """A server with those of the models that can be imported: its URL, and its gRPC address."""
    store = tmp_path_factory.mktemp("store")
    paths = write_models(tmp_path_factory.mktemp("sources"))

    def import_file(path: Path) -> bool:
        words = ["import", str(path), "--store", str(store)]
        return warm_python.run(words, cwd=path.parent, env=os.environ).returncode == 0

    names = [path.stem for path in paths if import_file(path)]
    with start_serving(*names, store=store) as (server, grpc_address):
        yield server.url.rstrip("/"), grpc_address


@pytest.fixture(scope="module")
def tritons(addresses: tuple[str, str]) -> Iterator[tuple[Any, Any]]:
    """Triton's HTTP client and its gRPC client."""
    url, grpc_address = addresses
    with (
        http_client.InferenceServerClient(url.partition("://")[2]) as over_http,
        grpc_client.InferenceServerClient(grpc_address) as over_grpc,
    ):
        yield over_http, over_grpc


def infer(addresses: tuple[str, str], tritons: Any, model: str, given: str, array: Any) -> Any:
    """The model's outputs by name, which are the same by every way of the v2 protocol.

    HTTP with JSON, HTTP with binary tensors, gRPC with raw and with typed contents.
    """
    kind = "BYTES" if array.dtype.kind == "O" else "FP32"
    answers = []
    for module, client in zip((http_client, grpc_client), tritons, strict=True):
        tensor = module.InferInput(given, list(array.shape), kind)
        tensor.set_data_from_numpy(array)
        told = client.infer(model, [tensor])
        answers.append({name: decode(told.as_numpy(name)) for name in list_outputs(told)})
    body = {"name": given, "shape": list(array.shape), "datatype": kind, "data": array.tolist()}
    answer = httpx.post(f"{addresses[0]}/v2/models/{model}/infer", json={"inputs": [body]})
    assert answer.status_code == 200, answer.text
    answers.append(
        {
            each["name"]: np.array(each["data"], DTYPES[each["datatype"]]).reshape(each["shape"])
            for each in answer.json()["outputs"]
        }
    )
    answers.append(infer_typed(addresses[1], model, given, array))
    for other in answers[1:]:
        assert list(other) == list(answers[0])
        for name, value in other.items():
            assert value.shape == answers[0][name].shape
            assert value.tolist() == answers[0][name].tolist()
    return answers[0]


def list_outputs(result: Any) -> list[str]:
    response = result.get_response()
    if isinstance(response, dict):
        return [each["name"] for each in response["outputs"]]
    return [each.name for each in response.outputs]


def infer_typed(address: str, model: str, given: str, array: Any) -> dict[str, Any]:
    request = load_message("inference.ModelInferRequest")(model_name=model)
    kind = "BYTES" if array.dtype.kind == "O" else "FP32"
    tensor = request.inputs.add(name=given, datatype=kind, shape=array.shape)
    values = [encode(each) for each in array.reshape(-1).tolist()]
    typed = {"BYTES": "bytes_contents", "FP32": "fp32_contents"}
    getattr(tensor.contents, typed[kind]).extend(values)
    path = "/inference.GRPCInferenceService/ModelInfer"
    answer = ask(address, path, request, "inference.ModelInferResponse")
    return {
        each.name: decode(
            np.array(
                list(getattr(each.contents, typed[each.datatype])),
                object if each.datatype == "BYTES" else np.float32,
            )
        ).reshape(each.shape)
        for each in answer.outputs
    }


def predict(addresses: tuple[str, str], model: str, given: str, array: Any) -> dict[str, Any]:
    """The model's outputs by name over TensorFlow Serving's gRPC."""
    request = load_message("tensorflow.serving.PredictRequest")()
    request.model_spec.name = model
    proto = request.inputs[given]
    proto.dtype = 7 if array.dtype.kind == "O" else 1
    for side in array.shape:
        proto.tensor_shape.dim.add(size=side)
    values = [encode(each) for each in array.reshape(-1).tolist()]
    (proto.string_val if array.dtype.kind == "O" else proto.float_val).extend(values)
    path = "/tensorflow.serving.PredictionService/Predict"
    answer = ask(addresses[1], path, request, "tensorflow.serving.PredictResponse")
    told = {}
    for name, each in answer.outputs.items():
        shape = [dim.size for dim in each.tensor_shape.dim]
        found = list(each.string_val if each.dtype == 7 else each.float_val)
        kind = object if each.dtype == 7 else np.float32
        told[name] = decode(np.array(found, kind)).reshape(shape)
    return told


def encode(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


def decode(array: Any) -> Any:
    """Text in place of bytes."""
    if array.dtype.kind != "O":
        return array
    words = [one.decode() if isinstance(one, bytes) else one for one in array.reshape(-1)]
    return np.array(words, dtype=object).reshape(array.shape)


@pytest.mark.parametrize("model", NAMES)
def test_a_tensor_keeps_its_name(addresses: tuple[str, str], tritons: Any, model: str) -> None:
    given, told = NAMES[model]
    assert infer(addresses, tritons, model, given, ROWS)[told].tolist() == (ROWS + 1).tolist()
    assert predict(addresses, model, given, ROWS)[told].tolist() == (ROWS + 1).tolist()
    url = f"{addresses[0]}/v1/models/{model}:predict"
    for rows in ([{given: row} for row in ROWS.tolist()], ROWS.tolist()):
        answer = httpx.post(url, json={"instances": rows}).json()
        assert answer == {"predictions": (ROWS + 1).tolist()}
    answer = httpx.post(url, json={"inputs": {given: ROWS.tolist()}}).json()
    assert answer == {"outputs": (ROWS + 1).tolist()}
    item = {given: ROWS[0].tolist()}
    answer = httpx.post(f"{addresses[0]}/v2/models/{model}/generate", json=item).json()
    assert answer[told] == (ROWS[0] + 1).tolist()


def test_an_axis_of_one_stays(addresses: tuple[str, str], tritons: Any) -> None:
    column = ROWS[:, :1]
    assert infer(addresses, tritons, "column", "x", column)["y"].tolist() == (2 * column).tolist()
    assert predict(addresses, "column", "x", column)["y"].shape == (3, 1)
    metadata = tritons[0].get_model_metadata("column")
    config = tritons[0].get_model_config("column")
    assert metadata["inputs"][0]["shape"] == metadata["outputs"][0]["shape"] == [-1, 1]
    assert config["input"][0]["dims"] == config["output"][0]["dims"] == [1]
    answer = httpx.post(
        f"{addresses[0]}/v1/models/column:predict", json={"instances": column.tolist()}
    )
    assert answer.json() == {"predictions": (2 * column).tolist()}


def test_text_of_an_axis_of_one(addresses: tuple[str, str], tritons: Any) -> None:
    assert infer(addresses, tritons, "words", "text", WORDS)["same"].tolist() == WORDS.tolist()
    assert predict(addresses, "words", "text", WORDS)["same"].tolist() == WORDS.tolist()
    url = f"{addresses[0]}/v1/models/words:predict"
    answer = httpx.post(url, json={"instances": WORDS.tolist()})
    assert answer.json() == {"predictions": WORDS.tolist()}
    answer = httpx.post(url, json={"instances": [{"text": ["one"]}]})
    assert answer.json() == {"predictions": [["one"]]}
    headers = {"inference-header-content-length": "0"}
    raw = httpx.post(f"{addresses[0]}/v2/models/words/infer", content=b"one body", headers=headers)
    length = int(raw.headers["inference-header-content-length"])
    assert json.loads(raw.content[:length])["outputs"][0]["shape"] == [1, 1]
    assert raw.content[length + 4 :] == b"one body"


def test_scalars_and_text_come_back(addresses: tuple[str, str], tritons: Any) -> None:
    told = infer(addresses, tritons, "summary", "x", ROWS)
    assert (told["total"].shape, told["told"].shape, told["same"].shape) == ((), (), (3, 2))
    assert float(told["total"]) == float(told["told"].item()) == ROWS.sum()
    answer = predict(addresses, "summary", "x", ROWS)
    assert answer["total"].shape == ()
    assert float(answer["told"].item()) == ROWS.sum()
    columns = httpx.post(
        f"{addresses[0]}/v1/models/summary:predict", json={"inputs": {"x": ROWS.tolist()}}
    )
    assert columns.json()["outputs"]["total"] == ROWS.sum()
    assert columns.json()["outputs"]["same"] == ROWS.tolist()


def test_a_model_without_a_batch_axis(addresses: tuple[str, str], tritons: Any) -> None:
    row = np.array([[1, 5, 2, 3]], np.float32)
    assert infer(addresses, tritons, "fixed", "x", row)["best"].tolist() == [5]
    shapes: dict[str, Any] = {
        "fixed": ([[1, 4]], [[1]]),
        "summary": ([[-1, 2]], [[], [], [-1, 2]]),
    }
    for model, (given, told) in shapes.items():
        metadata = tritons[0].get_model_metadata(model)
        config = tritons[0].get_model_config(model)
        assert [each["shape"] for each in metadata["inputs"]] == given
        assert [each["shape"] for each in metadata["outputs"]] == told
        assert config["max_batch_size"] == 0
        assert "dynamic_batching" not in config
        assert [each["dims"] for each in config["input"]] == given
        assert [each["dims"] for each in config["output"]] == told
        assert tritons[1].get_model_config(model).config.max_batch_size == 0
    wanted = [http_client.InferRequestedOutput("best", class_count=1)]
    tensor = http_client.InferInput("x", [1, 4], "FP32")
    tensor.set_data_from_numpy(row)
    best = tritons[0].infer("fixed", [tensor], outputs=wanted).as_numpy("best")
    assert [one.decode().split(":")[1] for one in best] == ["0"]
