"""Clients written against TensorFlow Serving, Triton and KServe, unchanged but for the address.

Their requests are in `fixtures/`, as their documentation has them, with the responses that it
promises; where it has none, the framework's own answer is expected. TensorFlow Serving's stubs are
in `test_tensorflow_client.py`, KServe's Python client in `test_kserve_client.py`.
"""

from __future__ import annotations

import json
import os
import queue
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from modelpad.server.protocols.protobuf import load_message
from tests.server.protocols.grpc_calls import ask
from tests.server.protocols.twenty_models import EXAMPLES, Answer, Example
from tests.warm_python import WarmPython

http_client = pytest.importorskip("tritonclient.http")
grpc_client = pytest.importorskip("tritonclient.grpc")
grpc = pytest.importorskip("grpc")
PACKAGES = ("keras", "lightgbm", "onnx", "skops", "torch", "xgboost")
missing = [name for name in PACKAGES if find_spec(name) is None]

from tritonclient.utils import InferenceServerException  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}"),
]

FIXTURES = Path(__file__).parent / "fixtures"
CLASSES = ("cat", "dog", "bird", "fish")
DTYPES = {"FP32": np.float32, "FP64": np.float64, "INT32": np.int32, "INT64": np.int64}


@dataclass(frozen=True)
class Served:
    """Where the models are served, how their frameworks answer, and why any is missing."""

    url: str
    grpc: str
    answers: dict[str, Answer]
    failures: dict[str, str]

    @property
    def address(self) -> str:
        """Host and port."""
        return self.url.partition("://")[2]


def import_model(warm: WarmPython, example: Example, folder: Path, store: Path) -> str:
    """Runs `modelpad import`; returns why it failed, if it did."""
    options = [each.format(folder=folder) for each in example.options]
    words = ["import", str(folder / example.file), "--name", example.name, *options]
    done = warm.run([*words, "--store", str(store)], cwd=folder, env=os.environ)
    return "" if done.returncode == 0 else done.stderr


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
    start_serving: Callable[..., AbstractContextManager[tuple[Any, str]]],
    warm_python: WarmPython,
) -> Iterator[Served]:
    """One server with all of them by name."""
    folder, store = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("store")
    answers = {each.name: each.build(folder / each.file) for each in EXAMPLES}
    failures = {each.name: import_model(warm_python, each, folder, store) for each in EXAMPLES}
    names = [name for name, failure in failures.items() if not failure]
    with start_serving(*names, store=store) as (server, grpc_address):
        yield Served(server.url, grpc_address, answers, failures)


@pytest.fixture(scope="module")
def tritons(served: Served) -> Iterator[tuple[Any, Any]]:
    """Triton's HTTP client and its gRPC client."""
    with (
        http_client.InferenceServerClient(served.address) as over_http,
        grpc_client.InferenceServerClient(served.grpc) as over_grpc,
    ):
        yield over_http, over_grpc


@pytest.mark.parametrize("name", [each.name for each in EXAMPLES])
def test_each_model_is_imported(served: Served, name: str) -> None:
    assert not served.failures[name]


def read_calls(name: str) -> list[Any]:
    calls = json.loads((FIXTURES / name).read_text("utf-8"))["calls"]
    return [pytest.param(call, id=call["id"]) for call in calls]


def name_model(path: str) -> str:
    return path.split("/models/")[1].split("/")[0].split(":")[0]


def read_tensors(body: Any) -> list[Any]:
    """The raw inputs of a request, as a framework would be given them."""
    if isinstance(body.get("inputs"), list) and isinstance(body["inputs"][0], dict):
        return [
            np.array(each["data"], DTYPES[each["datatype"]]).reshape(each["shape"])
            for each in body["inputs"]
        ]
    rows = body.get("instances", body.get("inputs"))
    if isinstance(rows[0], dict):
        return [np.array([row[name] for row in rows], np.float32) for name in rows[0]]
    return [np.array(rows, np.float32)]


def agree(given: Any, wanted: Any) -> None:
    """Whether a response has all that is promised; numbers may differ in their last digits."""
    if isinstance(wanted, dict):
        assert set(wanted) <= set(given)
        for key, value in wanted.items():
            agree(given[key], value)
    elif isinstance(wanted, list):
        assert len(given) == len(wanted)
        for one, other in zip(given, wanted, strict=True):
            agree(one, other)
    elif isinstance(wanted, float):
        assert given == pytest.approx(wanted, rel=1e-5, abs=1e-5)
    else:
        assert given == wanted


@pytest.mark.parametrize(
    "call", [*read_calls("tensorflow_serving.json"), *read_calls("kserve.json")]
)
def test_a_documented_request(served: Served, call: Any) -> None:
    answer = httpx.post(served.url.rstrip("/") + call["path"], json=call["body"], timeout=30)
    assert answer.status_code == 200, answer.text
    if "response" in call:
        agree(answer.json(), call["response"])
        return
    (own,) = served.answers[name_model(call["path"])](read_tensors(call["body"]))
    if call["path"].startswith("/v1"):
        agree(answer.json(), {"predictions": own.tolist()})
    else:
        (output,) = answer.json()["outputs"]
        assert output["shape"] == list(own.shape)
        agree(output["data"], own.reshape(-1).tolist())


def test_tensorflow_serving_answers_as_documented(served: Served) -> None:
    """api_rest.md: status, metadata, `:regress` by its signature, an unknown model."""
    url = f"{served.url.rstrip('/')}/v1/models"
    status = httpx.get(f"{url}/saved_model_half_plus_three").json()
    assert status["model_version_status"][0]["status"] == {"error_code": "OK", "error_message": ""}
    assert status["model_version_status"][0]["state"] == "AVAILABLE"
    metadata = httpx.get(f"{url}/saved_model_half_plus_three/metadata").json()
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert [each["size"] for each in signature["inputs"]["x"]["tensor_shape"]["dim"]] == ["-1"]
    missing = httpx.post(f"{url}/half:predict", json={"instances": [1.0, 5.0]})
    assert missing.status_code == 404
    assert list(missing.json()) == ["error"]


def test_mnist_client(served: Served) -> None:
    """mnist_client.py: `images` in, `scores` read from `float_val`, by a signature's name."""
    rows = np.array([[0.0, 0.5, 1.0, 0.25]], np.float32)
    answer = predict(served, "mnist", "predict_images", "images", rows)
    (own,) = served.answers["mnist"]([rows])
    np.testing.assert_allclose(answer.outputs["scores"].float_val, own[0], atol=1e-5)


def test_resnet_client_grpc(served: Served) -> None:
    """resnet_client_grpc.py: `input_1` in, `activation_49` out."""
    pictures = np.random.default_rng(3).random((1, 3, 3, 3), np.float32)
    answer = predict(served, "resnet", "serving_default", "input_1", pictures)
    (own,) = served.answers["resnet"]([pictures])
    np.testing.assert_allclose(answer.outputs["activation_49"].float_val, own[0], atol=1e-5)


def predict(served: Served, model: str, signature: str, name: str, array: Any) -> Any:
    """TensorFlow Serving's Predict, as `tf.make_tensor_proto` writes a tensor."""
    request = load_message("tensorflow.serving.PredictRequest")()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    request.inputs[name].dtype = 1
    for side in array.shape:
        request.inputs[name].tensor_shape.dim.add(size=side)
    request.inputs[name].tensor_content = array.tobytes()
    path = "/tensorflow.serving.PredictionService/Predict"
    return ask(served.grpc, path, request, "tensorflow.serving.PredictResponse")


def make_input(module: Any, name: str, array: Any, kind: str, **options: Any) -> Any:
    given = module.InferInput(name, list(array.shape), kind)
    given.set_data_from_numpy(array, **options)
    return given


def test_simple_infer_clients(tritons: tuple[Any, Any]) -> None:
    """simple_{http,grpc}_infer_client.py: with and without outputs named, and statistics."""
    first, second = np.arange(16, dtype=np.int32)[np.newaxis], np.full((1, 16), -1, np.int32)
    for module, client in zip((http_client, grpc_client), tritons, strict=True):
        inputs = [
            make_input(module, "INPUT0", first, "INT32"),
            make_input(module, "INPUT1", second, "INT32"),
        ]
        named = [module.InferRequestedOutput(f"OUTPUT{n}") for n in (0, 1)]
        for outputs in (named, None):
            answer = (
                client.infer("simple", inputs, outputs=outputs, query_params={"test_1": 1})
                if module is http_client
                else client.infer("simple", inputs, outputs=outputs)
            )
            np.testing.assert_array_equal(answer.as_numpy("OUTPUT0"), first + second)
            np.testing.assert_array_equal(answer.as_numpy("OUTPUT1"), first - second)
        with pytest.raises(InferenceServerException, match="Request for unknown model"):
            client.infer("wrong_model_name", inputs)
    assert len(tritons[0].get_inference_statistics("simple")["model_stats"]) == 1
    assert len(tritons[1].get_inference_statistics("simple").model_stats) == 1


def test_simple_string_infer_clients(tritons: tuple[Any, Any]) -> None:
    """simple_{http,grpc}_string_infer_client.py: numbers as text, and text with null characters."""
    numbers = np.arange(16).astype(str).astype(object)[np.newaxis]
    ones = np.full((1, 16), "1", dtype=object)
    nulls = np.array([f"{n}\0{n}".encode() for n in range(16)], dtype=object)[np.newaxis]
    for module, client in zip((http_client, grpc_client), tritons, strict=True):
        inputs = [
            make_input(module, "INPUT0", numbers, "BYTES"),
            make_input(module, "INPUT1", ones, "BYTES"),
        ]
        answer = client.infer("simple_string", inputs)
        assert answer.as_numpy("OUTPUT0").astype(np.int32)[0].tolist() == list(range(1, 17))
        assert answer.as_numpy("OUTPUT1").astype(np.int32)[0].tolist() == list(range(-1, 15))
        given = make_input(module, "INPUT0", nulls, "BYTES")
        same = client.infer("simple_identity", [given]).as_numpy("OUTPUT0")
        np.testing.assert_array_equal(same, nulls)
    text = np.array([["Ünïcode 你好", ""]], dtype=object)
    given = make_input(http_client, "INPUT0", text, "BYTES", binary_data=False)
    wanted = [http_client.InferRequestedOutput("OUTPUT0", binary_data=False)]
    same = tritons[0].infer("simple_identity", [given], outputs=wanted).as_numpy("OUTPUT0")
    assert same.tolist() == text.tolist()


def test_explicit_contents_clients(served: Served) -> None:
    """grpc_explicit_int_content_client.py: typed contents; both kinds at once are an error."""
    request = load_message("inference.ModelInferRequest")(model_name="simple")
    for name, values in (("INPUT0", range(16)), ("INPUT1", [1] * 16)):
        tensor = request.inputs.add(name=name, datatype="INT32", shape=[1, 16])
        tensor.contents.int_contents.extend(values)
    for name in ("OUTPUT0", "OUTPUT1"):
        request.outputs.add(name=name)
    path = "/inference.GRPCInferenceService/ModelInfer"
    answer = ask(served.grpc, path, request, "inference.ModelInferResponse")
    sums = np.frombuffer(answer.raw_output_contents[0], np.int32)
    assert sums.tolist() == list(range(1, 17))
    request.raw_input_contents.append(bytes(32))
    with pytest.raises(grpc.RpcError) as caught:
        ask(served.grpc, path, request, "inference.ModelInferResponse")
    assert (
        "contents field must not be specified when using raw_input_contents for 'INPUT0' for"
        " model 'simple'"
    ) in caught.value.details()


def test_reused_objects_and_streams(tritons: tuple[Any, Any]) -> None:
    """reuse_infer_objects_client.py without shared memory, simple_grpc_async_infer_client.py."""
    _, client = tritons
    heard: queue.Queue[Any] = queue.Queue()
    first, second = np.arange(16, dtype=np.int32)[np.newaxis], np.ones((1, 16), np.int32)
    inputs = [
        make_input(grpc_client, "INPUT0", first, "INT32"),
        make_input(grpc_client, "INPUT1", second, "INT32"),
    ]
    client.start_stream(lambda result, error: heard.put((result, error)))
    for number in range(3):
        inputs[0].set_data_from_numpy(first + number)
        client.async_stream_infer("simple", inputs, request_id=str(number))
    client.async_infer("simple", inputs, lambda result, error: heard.put((result, error)))
    answers = [heard.get(timeout=20) for _ in range(4)]
    client.stop_stream()
    assert all(error is None for _, error in answers)
    sums = {int(result.as_numpy("OUTPUT0")[0, 0]) for result, _ in answers}
    assert sums == {1, 2, 3}


@pytest.mark.parametrize("batch", [1, 3])
def test_image_client(served: Served, tritons: tuple[Any, Any], batch: int) -> None:
    """image_client.py: it finds names, size and layout by itself, and prints class and label."""
    over_http, over_grpc = tritons
    metadata, config = (
        over_http.get_model_metadata("inception_onnx"),
        over_grpc.get_model_config("inception_onnx").config,
    )
    (given,), (told,) = metadata["inputs"], metadata["outputs"]
    assert config.max_batch_size > 0
    assert len(given["shape"]) == 4
    assert over_http.get_model_config("inception_onnx")["input"][0]["format"] == "FORMAT_NHWC"
    assert config.input[0].format == 1
    height, width, channels = given["shape"][1:]
    pictures = np.random.default_rng(5).random((batch, height, width, channels)) * 255
    pictures = pictures.astype(np.float32)
    (own,) = served.answers["inception_onnx"]([pictures])
    best = own.argmax(axis=1)
    for module, client in zip((http_client, grpc_client), tritons, strict=True):
        inputs = [make_input(module, given["name"], pictures, given["datatype"])]
        wanted = [module.InferRequestedOutput(told["name"], class_count=2)]
        answer = client.infer("inception_onnx", inputs, outputs=wanted, request_id="1")
        rows = answer.as_numpy(told["name"])
        assert rows.shape == (batch, 2)
        for row, place in zip(rows, best, strict=True):
            score, index, label = row[0].decode().split(":")
            assert (int(index), label) == (place, CLASSES[place])
            assert float(score) == pytest.approx(own[:, place].max(), abs=1)


def test_a_transformer_in_front_of_triton(served: Served, tritons: tuple[Any, Any]) -> None:
    """KServe's BERT example: four binary inputs, two outputs as JSON."""
    shapes = {
        "unique_ids": (1, 1),
        **dict.fromkeys(("segment_ids", "input_ids", "input_mask"), (1, 8)),
    }
    arrays = {
        name: np.arange(np.prod(shape), dtype=np.int32).reshape(shape) % 3
        for name, shape in shapes.items()
    }
    inputs = [make_input(http_client, name, each, "INT32") for name, each in arrays.items()]
    names = ("start_logits", "end_logits")
    outputs = [http_client.InferRequestedOutput(name, binary_data=False) for name in names]
    answer = tritons[0].infer("bert", inputs, outputs=outputs).get_response()
    own = served.answers["bert"](list(arrays.values()))
    assert [each["name"] for each in answer["outputs"]] == list(names)
    for each, wanted in zip(answer["outputs"], own, strict=True):
        assert each["data"] == wanted.reshape(-1).tolist()


def test_grpcurl_as_kserve_documents_it(served: Served) -> None:
    """sklearn.md: typed contents under the name `input-0`."""
    request = load_message("inference.ModelInferRequest")(model_name="sklearn-iris")
    tensor = request.inputs.add(name="input-0", datatype="FP32", shape=[2, 4])
    tensor.contents.fp32_contents.extend([6.8, 2.8, 4.8, 1.4, 6.0, 3.4, 4.5, 1.6])
    path = "/inference.GRPCInferenceService/ModelInfer"
    answer = ask(served.grpc, path, request, "inference.ModelInferResponse")
    assert list(answer.outputs[0].contents.int64_contents) == [1, 1]
    assert list(answer.outputs[0].shape) == [2]


def test_another_name_for_the_only_input_is_no_guess(served: Served) -> None:
    """Only the documented names of estimators, which have none of their own."""
    row = {"shape": [1, 4], "datatype": "FP32", "data": [0, 0, 0, 0]}
    url = served.url.rstrip("/")
    for model, name in (("sklearn-iris", "input-1"), ("mnist", "input-0")):
        body = {"inputs": [row | {"name": name}]}
        answer = httpx.post(f"{url}/v2/models/{model}/infer", json=body)
        assert answer.status_code == 400
        assert f"unexpected inference input '{name}'" in answer.json()["error"]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each.name)
def test_every_model_describes_itself_alike(tritons: tuple[Any, Any], example: Example) -> None:
    """Metadata and configuration, over HTTP and gRPC."""
    over_http, over_grpc = tritons
    metadata = over_http.get_model_metadata(example.name)
    config = over_http.get_model_config(example.name)
    told = over_grpc.get_model_metadata(example.name)
    for side in ("input", "output"):
        described = [(each["name"], each["shape"]) for each in metadata[f"{side}s"]]
        assert [(each.name, list(each.shape)) for each in getattr(told, f"{side}s")] == described
        axis = [-1] if config["max_batch_size"] else []
        configured = [(each["name"], [*axis, *each["dims"]]) for each in config[side]]
        assert configured == described
    assert (config["max_batch_size"] > 0) is (example.name != "style")
    assert over_http.is_model_ready(example.name)
    assert over_grpc.is_model_ready(example.name, "1")
