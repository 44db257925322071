"""The Open Inference Protocol: the real client of Triton, and requests by the specification."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest

from modelpad.bundle import Bundle
from modelpad.server.protocols.openinference.datatypes import classify

tritonclient = pytest.importorskip("tritonclient.http")

MIX = "/v2/models/mix"
# https://github.com/kserve/open-inference-protocol: what its tables name.
DATATYPES = (
    *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
    *("FP16", "FP32", "FP64", "BYTES"),
)


@pytest.fixture(scope="module")
def triton(protocols: str) -> Any:
    with tritonclient.InferenceServerClient(protocols, concurrency=4) as client:
        yield client


@pytest.fixture(scope="module")
def client(protocols: str) -> Any:
    with httpx.Client(base_url=f"http://{protocols}") as opened:
        yield opened


def make_inputs(binary: bool = True) -> tuple[list[Any], Any]:
    first, second = np.arange(8, dtype=np.int32).reshape(2, 4), np.full((2, 4), 3, np.int32)
    inputs = []
    for name, array in (("first", first), ("second", second)):
        inputs.append(tritonclient.InferInput(name, array.shape, "INT32"))
        inputs[-1].set_data_from_numpy(array, binary_data=binary)
    return inputs, (first + second, first - second)


def test_the_client_sees_a_server(triton: Any) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("mix")
    assert triton.is_model_ready("mix", "1")
    assert not triton.is_model_ready("nothing")
    assert "binary_tensor_data" in triton.get_server_metadata()["extensions"]
    assert triton.get_model_metadata("mix") == {
        "name": "mix",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "first", "datatype": "INT32", "shape": [-1, 4]},
            {"name": "second", "datatype": "INT32", "shape": [-1, 4]},
        ],
        "outputs": [
            {"name": "total", "datatype": "INT32", "shape": [-1, 4]},
            {"name": "apart", "datatype": "INT32", "shape": [-1, 4]},
        ],
    }
    config = triton.get_model_config("mix")
    assert config["max_batch_size"] >= 1
    assert config["input"][0] == {
        "name": "first",
        "data_type": "TYPE_INT32",
        "dims": [4],
        "format": "FORMAT_NONE",
    }


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_inference(triton: Any, binary: bool) -> None:
    inputs, (total, apart) = make_inputs(binary)
    answer = triton.infer("mix", inputs, request_id="seven")
    np.testing.assert_array_equal(answer.as_numpy("total"), total)
    np.testing.assert_array_equal(answer.as_numpy("apart"), apart)
    assert answer.get_response()["id"] == "seven"
    outputs = [tritonclient.InferRequestedOutput("apart", binary_data=binary)]
    answer = triton.infer("mix", inputs, outputs=outputs, model_version="1")
    np.testing.assert_array_equal(answer.as_numpy("apart"), apart)
    assert answer.as_numpy("total") is None


def test_asynchronous_inference_and_packed_bodies(triton: Any) -> None:
    inputs, (total, _) = make_inputs()
    waiting = [triton.async_infer("mix", inputs) for _ in range(8)]
    for each in waiting:
        np.testing.assert_array_equal(each.get_result().as_numpy("total"), total)
    for packing in ("gzip", "deflate"):
        answer = triton.infer("mix", inputs, request_compression_algorithm=packing)
        np.testing.assert_array_equal(answer.as_numpy("total"), total)


def test_text_and_classification(triton: Any) -> None:
    words = np.array(["one", "zwei", "três"], dtype=object)
    given = tritonclient.InferInput("words", [3], "BYTES")
    given.set_data_from_numpy(words)
    same = triton.infer("echo", [given]).as_numpy("same")
    assert [one.decode() for one in same] == list(words)
    row = tritonclient.InferInput("row", [1, 3], "FP32")
    row.set_data_from_numpy(np.array([[0, 9, 1]], np.float32))
    wanted = [tritonclient.InferRequestedOutput("kind", class_count=2)]
    best = triton.infer("pick", [row], outputs=wanted).as_numpy("kind")[0]
    assert [one.decode().split(":")[1:] for one in best] == [["1", "b"], ["2", "c"]]


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool", "float16"])
def test_classification_of_any_numbers(dtype: str) -> None:
    model: Any = SimpleNamespace(find_classes=lambda tensor, count: ())
    best = classify(model, "v", np.array([[0, 1, 0]], dtype), 2)
    assert best.tolist() == [["1.000000:1", "0.000000:0"]]


def test_classification_of_text_is_refused(client: httpx.Client) -> None:
    words = {"name": "words", "shape": [1], "datatype": "BYTES", "data": ["a"]}
    wanted = [{"name": "same", "parameters": {"classification": 1}}]
    asked = {"inputs": [words], "outputs": wanted}
    answer = client.post("/v2/models/echo/infer", json=asked)
    assert answer.status_code == 400
    assert "classification" in answer.json()["error"]


def test_pictures_are_prepared_as_the_page_prepares_them(triton: Any, digits: Bundle) -> None:
    pictures = [digits.path(f"samples/{n}.png").read_bytes() for n in (4, 7)]
    given = tritonclient.InferInput("image", [2], "BYTES")
    given.set_data_from_numpy(np.array(pictures, dtype=object))
    scores = triton.infer("digits", [given]).as_numpy("label")
    assert scores.argmax(axis=1).tolist() == [4, 7]


def test_errors_reach_the_client(triton: Any) -> None:
    from tritonclient.utils import InferenceServerException

    inputs, _ = make_inputs()
    with pytest.raises(InferenceServerException, match="unknown model"):
        triton.infer("nothing", inputs)
    with pytest.raises(InferenceServerException, match="'second' is missing"):
        triton.infer("mix", inputs[:1])
    wrong = tritonclient.InferInput("first", [1, 3], "INT32")
    wrong.set_data_from_numpy(np.zeros((1, 3), np.int32))
    with pytest.raises(InferenceServerException, match="expected \\[-1, 4\\]"):
        triton.infer("mix", [wrong, inputs[1]])


def test_statistics_count(triton: Any) -> None:
    before = triton.get_inference_statistics("mix")["model_stats"][0]
    inputs, _ = make_inputs()
    for _ in range(3):
        triton.infer("mix", inputs)
    after = triton.get_inference_statistics("mix")["model_stats"][0]
    assert after["inference_count"] - before["inference_count"] == 6
    assert after["inference_stats"]["success"]["count"] >= 3


def tensor(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": [1, 4], "datatype": "INT32", "data": [1, 2, 3, 4]} | more


def test_json_by_the_specification(client: httpx.Client) -> None:
    request = {
        "id": "x1",
        "parameters": {},
        "inputs": [tensor("first"), tensor("second", data=[[1, 1, 1, 1]])],
        "outputs": [{"name": "total"}],
    }
    answer = client.post(f"{MIX}/infer", json=request).json()
    assert answer == {
        "model_name": "mix",
        "model_version": "1",
        "id": "x1",
        "outputs": [{"name": "total", "datatype": "INT32", "shape": [1, 4], "data": [2, 3, 4, 5]}],
    }
    assert client.get("/v2/health/live").json()["live"] is True
    assert client.get("/v2/health/ready").json() == {"live": True, "ready": True}


def test_a_raw_body_is_the_one_input(client: httpx.Client) -> None:
    rows = np.array([[0, 5, 0], [7, 0, 0]], "<f4")
    headers = {"inference-header-content-length": "0"}
    answer = client.post("/v2/models/pick/infer", content=rows.tobytes(), headers=headers)
    length = int(answer.headers["inference-header-content-length"])
    head = json.loads(answer.content[:length])
    assert head["outputs"][0]["shape"] == [2, 3]
    scores = np.frombuffer(answer.content[length:], "<f4").reshape(2, 3)
    assert scores.argmax(axis=1).tolist() == [1, 0]


BOTH = [tensor("first"), tensor("second")]
REQUIRED = ("name", "shape", "datatype", "data")
MANY = {"classification": "many"}


def without(field: str) -> dict[str, Any]:
    return {key: value for key, value in BOTH[0].items() if key != field}


def check_tensors(tensors: list[dict[str, Any]], *fields: str) -> None:
    assert tensors
    for each in tensors:
        assert set(each) == {"name", "datatype", "shape", *fields}
        assert isinstance(each["name"], str)
        assert each["datatype"] in DATATYPES
        assert all(isinstance(side, int) for side in each["shape"])


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_the_server_tells_every_field_of_the_specification(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert set(told) == {"name", "version", "extensions"}
    assert all(isinstance(each, str) for each in [told["name"], told["version"]])
    assert all(isinstance(each, str) for each in told["extensions"])


@pytest.mark.parametrize("path", ["", "/versions/1"])
@pytest.mark.parametrize("model", ["mix", "echo", "pick", "half_plus_two", "digits"])
def test_a_model_tells_every_field_of_the_specification(
    client: httpx.Client, model: str, path: str
) -> None:
    told = client.get(f"/v2/models/{model}{path}").json()
    assert set(told) == {"name", "versions", "platform", "inputs", "outputs"}
    assert (told["name"], told["versions"]) == (model, ["1"])
    assert told["platform"].count("_") == 1
    check_tensors(told["inputs"])
    check_tensors(told["outputs"])
    ready = client.get(f"/v2/models/{model}{path}/ready").json()
    assert ready == {"name": model, "ready": True}


@pytest.mark.parametrize("path", ["", "/versions/1"])
@pytest.mark.parametrize("data", [[1, 2, 3, 4, 5, 6, 7, 8], [[1, 2, 3, 4], [5, 6, 7, 8]]])
def test_an_answer_tells_every_field_of_the_specification(
    client: httpx.Client, path: str, data: Any
) -> None:
    """Elements nested as the shape is, or flat; all outputs where none are named."""
    both = [tensor(name, shape=[2, 4], data=data) for name in ("first", "second")]
    told = client.post(f"{MIX}{path}/infer", json={"inputs": both}).json()
    assert set(told) == {"model_name", "model_version", "outputs"}
    check_tensors(told["outputs"], "data")
    assert [each["name"] for each in told["outputs"]] == ["total", "apart"]
    assert told["outputs"][0]["data"] == [2, 4, 6, 8, 10, 12, 14, 16]
    assert client.post(f"{MIX}{path}/infer", json={"inputs": both, "id": "42"}).json()["id"] == "42"
    assert client.post(f"{MIX}{path}/infer", json={"inputs": both, "id": 0}).json()["id"] == "0"


@pytest.mark.parametrize("datatype", [each for each in DATATYPES if each != "BYTES"])
def test_every_datatype_of_numbers_is_taken(client: httpx.Client, datatype: str) -> None:
    """And cast to the model's own, where nothing is lost."""
    data = [True, False] if datatype == "BOOL" else [0, 1]
    given = {"name": "x", "shape": [2], "datatype": datatype, "data": data}
    told = client.post("/v2/models/half_plus_two/infer", json={"inputs": [given]}).json()
    assert sorted(told["outputs"][0]["data"]) == [2.0, 2.5]


@pytest.mark.parametrize(
    "path",
    ["nothing", "nothing/ready", "nothing/infer", "mix/versions/9", "mix/versions/x/infer"],
)
def test_every_error_is_a_text(client: httpx.Client, path: str) -> None:
    method = "POST" if path.endswith("infer") else "GET"
    answer = client.request(method, f"/v2/models/{path}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["error"]
    assert isinstance(answer.json()["error"], str)


@pytest.mark.parametrize("shape", [[2**70, 4], [2**40, 2**40], [0, 2**63], [30_000_000]])
def test_shapes_beyond_all_memory_are_refused(client: httpx.Client, shape: list[int]) -> None:
    ways: tuple[dict[str, Any], ...] = ({"data": []}, {"parameters": {"binary_data_size": 0}})
    for more in ways:
        given = without("data") | {"shape": shape} | more
        answer = client.post(f"{MIX}/infer", json={"inputs": [given, BOTH[1]]})
        assert answer.status_code in (400, 413), answer.text
        assert list(answer.json()) == ["error"]


@pytest.mark.parametrize(
    ("request_body", "words"),
    [
        ([], "inputs"),
        ({"inputs": 3}, "inputs"),
        ({"inputs": [3]}, "name"),
        ({"inputs": [tensor("first", shape="x"), BOTH[1]]}, "shape"),
        ({"inputs": [tensor("first", shape=[-1, 4]), BOTH[1]]}, "shape"),
        ({"inputs": [tensor("first", datatype="INT7"), BOTH[1]]}, "datatype"),
        ({"inputs": [tensor("first", data=[1, 2]), BOTH[1]]}, "4 elements"),
        ({"inputs": [tensor("first", data=[1, 2, 3, "x"]), BOTH[1]]}, "'first'"),
        ({"inputs": [tensor("first", data=[[1, 2], [3]]), BOTH[1]]}, "different lengths"),
        ({"inputs": [tensor("first", data=[0.5, 2, 3, 4]), BOTH[1]]}, "fractions"),
        (
            {"inputs": [tensor("first", shape=[1, 2, 2]), BOTH[1]]},
            "got [1, 2, 2]. Send items of shape [4]; ",
        ),
        ({"inputs": [*BOTH, tensor("third")]}, "unexpected inference input 'third'"),
        ({"inputs": [BOTH[0], BOTH[0]]}, "each input once"),
        ({"inputs": BOTH[:1]}, "'second' is missing"),
        (
            {"inputs": BOTH, "outputs": [{"name": "x"}]},
            "inference output 'x' for model 'mix'. Its outputs: ",
        ),
        ({"inputs": BOTH, "outputs": 3}, "outputs"),
        ({"inputs": BOTH, "parameters": 3}, "parameters"),
        ({}, "inputs"),
        ({"inputs": None}, "inputs"),
        ({"inputs": []}, "'first' is missing"),
        *[({"inputs": [without(field), BOTH[1]]}, field) for field in REQUIRED],
        *[({"inputs": [BOTH[0] | {field: {}}, BOTH[1]]}, field) for field in REQUIRED],
        ({"inputs": [tensor("first", shape=[1, 4.0]), BOTH[1]]}, "shape"),
        ({"inputs": [tensor("first", shape=[True, 4]), BOTH[1]]}, "shape"),
        ({"inputs": [tensor("first", shape=[1] * 40), BOTH[1]]}, "sides"),
        ({"inputs": [tensor("first", data=1, shape=[1]), BOTH[1]]}, "a list"),
        ({"inputs": [tensor("first", parameters=3), BOTH[1]]}, "parameters"),
        ({"inputs": [tensor("first", datatype="UINT8", data=[1, 2, 3, 256]), BOTH[1]]}, "UINT8"),
        ({"inputs": [tensor("first", datatype="UINT32", data=[-1, 0, 0, 0]), BOTH[1]]}, "UINT32"),
        ({"inputs": [tensor("first", datatype="FP16", data=[1e9, 0, 0, 0]), BOTH[1]]}, "FP16"),
        ({"inputs": BOTH, "outputs": [3]}, "outputs"),
        ({"inputs": BOTH, "outputs": [{}]}, "unexpected inference output"),
        ({"inputs": BOTH, "outputs": [{"name": "total", "parameters": [1]}]}, "parameters"),
        ({"inputs": BOTH, "outputs": [{"name": "total", "parameters": MANY}]}, "classification"),
        ({"inputs": [{k: v for k, v in BOTH[0].items() if k != "data"}, BOTH[1]]}, "data"),
        ({"inputs": [tensor("first", parameters={"binary_data_size": 16}), BOTH[1]]}, "binary"),
    ],
)
def test_wrong_requests_are_told_what_is_wrong(
    client: httpx.Client, request_body: Any, words: str
) -> None:
    answer = client.post(f"{MIX}/infer", json=request_body)
    assert answer.status_code == 400, answer.text
    assert list(answer.json()) == ["error"]
    assert words in answer.json()["error"]


@pytest.mark.parametrize("length", ["x", "-1", "99999", "2", "9" * 5000])
def test_wrong_lengths_of_the_head(client: httpx.Client, length: str) -> None:
    headers = {"inference-header-content-length": length}
    answer = client.post(f"{MIX}/infer", json={"inputs": BOTH}, headers=headers)
    assert answer.status_code == 400


def test_any_time_may_be_given(client: httpx.Client) -> None:
    for microseconds in (0, 10**7, 10**400):
        asked = {"inputs": BOTH, "parameters": {"timeout": microseconds}}
        assert client.post(f"{MIX}/infer", json=asked).status_code == 200


def test_unknown_models_and_versions(client: httpx.Client) -> None:
    answer = client.post("/v2/models/nothing/infer", json={"inputs": BOTH})
    assert answer.status_code == 404
    assert answer.json()["error"].startswith("Request for unknown model")
    assert client.get(f"{MIX}/versions/9/ready").status_code == 404


def test_the_memory_of_binary_strings_is_reserved_before_they_are_read(
    client: httpx.Client,
) -> None:
    tail = bytes(4 * 4_000_000)  # empty strings
    sent = {"binary_data_size": len(tail)}
    strings = {"name": "image", "shape": [4_000_000], "datatype": "BYTES", "parameters": sent}
    head = json.dumps({"inputs": [strings]}).encode()
    headers = {"inference-header-content-length": str(len(head))}
    answer = client.post("/v2/models/digits/infer", content=head + tail, headers=headers)
    assert answer.status_code == 413
    assert "bytes of memory" in answer.json()["error"]
