"""Triton's extensions over HTTP and gRPC: what its tools read, and what is declined."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
import pytest

grpc = pytest.importorskip("grpc")
http_client = pytest.importorskip("tritonclient.http")
grpc_client = pytest.importorskip("tritonclient.grpc")

from tritonclient.utils import InferenceServerException  # noqa: E402

SERVED = ["digits", "echo", "half_plus_two", "mix", "pick"]
DURATIONS = (
    *("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"),
    *("cache_hit", "cache_miss"),
)
REGION = {"shared_memory_region": "r", "shared_memory_byte_size": 16}


@pytest.fixture(scope="module")
def clients(both: tuple[str, str]) -> Any:
    """Triton's HTTP client and its gRPC client."""
    with (
        http_client.InferenceServerClient(both[0]) as over_http,
        grpc_client.InferenceServerClient(both[1]) as over_grpc,
    ):
        yield over_http, over_grpc


@pytest.fixture(scope="module")
def client(protocols: str) -> Any:
    with httpx.Client(base_url=f"http://{protocols}") as opened:
        yield opened


def infer(client: httpx.Client, items: int, model: str = "pick") -> httpx.Response:
    rows = {"name": "row", "shape": [items, 3], "datatype": "FP32", "data": [0] * 3 * items}
    return client.post(f"/v2/models/{model}/infer", json={"inputs": [rows]})


def simplify(value: Any) -> Any:
    """Protobuf's JSON as Triton's HTTP has it: 64-bit numbers are numbers."""
    if isinstance(value, dict):
        return {key: simplify(each) for key, each in value.items()}
    if isinstance(value, list):
        return [simplify(each) for each in value]
    return int(value) if isinstance(value, str) and value.lstrip("-").isdigit() else value


@pytest.mark.parametrize("name", SERVED)
def test_the_configuration_agrees_with_the_metadata(clients: Any, name: str) -> None:
    over_http, over_grpc = clients
    config, metadata = over_http.get_model_config(name), over_http.get_model_metadata(name)
    told = over_grpc.get_model_config(name, as_json=True)["config"]
    assert told["name"] == name
    for key in ("input", "output"):
        for tensor, described, other in zip(
            config[key], metadata[f"{key}s"], told[key], strict=True
        ):
            assert tensor["name"] == described["name"] == other["name"]
            kind = described["datatype"].replace("BYTES", "STRING")
            assert tensor["data_type"] == other["data_type"] == f"TYPE_{kind}"
            assert [-1, *tensor["dims"]] == described["shape"]
            assert simplify(other.get("dims", [])) == tensor["dims"]
    assert config["max_batch_size"] == told["max_batch_size"] >= 1
    assert config["dynamic_batching"]["preferred_batch_size"][0] >= 1
    assert over_grpc.get_model_config(name, "1").config.platform == "onnxruntime_onnx"


def test_a_picture_says_its_layout(clients: Any) -> None:
    """As `image_client.py` needs it."""
    (picture,) = clients[0].get_model_config("digits")["input"]
    assert (picture["format"] == "FORMAT_NONE") is (len(picture["dims"]) != 3)


def test_statistics_of_one_model_and_of_all(clients: Any, client: httpx.Client) -> None:
    over_http, over_grpc = clients
    path = "/v2/models/pick/versions/1/stats"
    before = client.get(path).json()["model_stats"][0]
    for items in (1, 2, 4):
        assert infer(client, items).status_code == 200
    (after,) = over_http.get_inference_statistics("pick")["model_stats"]
    assert after["inference_count"] - before["inference_count"] == 7
    assert after["execution_count"] - before["execution_count"] == 3
    assert after["last_inference"] >= before["last_inference"]
    assert set(after["inference_stats"]) == set(DURATIONS)
    now, then = after["inference_stats"], before["inference_stats"]
    for phase in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        assert now[phase]["count"] - then[phase]["count"] == 3
        assert now[phase]["ns"] >= then[phase]["ns"]
    parts = sum(now[each]["ns"] for each in DURATIONS[2:6])
    assert now["success"]["ns"] == pytest.approx(parts, abs=10)
    told = over_grpc.get_inference_statistics("pick", as_json=True)["model_stats"]
    assert simplify(told[0])["inference_stats"]["success"] == now["success"]
    everything = client.get("/v2/models/stats").json()["model_stats"]
    assert [each["name"] for each in everything] == SERVED
    told = over_grpc.get_inference_statistics(as_json=True)["model_stats"]
    assert [each["name"] for each in told] == SERVED


def test_unknown_models_have_no_configuration_and_no_statistics(clients: Any) -> None:
    for each in clients:
        for ask in (
            each.get_model_config,
            each.get_inference_statistics,
            each.get_model_metadata,
        ):
            with pytest.raises(InferenceServerException, match="Request for unknown model"):
                ask("wrong_model_name")
        with pytest.raises(InferenceServerException, match="no version '9'"):
            each.get_inference_statistics("mix", "9")


def test_the_index_needs_no_admin(clients: Any) -> None:
    over_http, over_grpc = clients
    index = over_http.get_model_repository_index()
    assert [each["name"] for each in index] == SERVED
    assert {each["state"] for each in index} == {"READY"}
    told = over_grpc.get_model_repository_index()
    assert [each.name for each in told.models] == SERVED
    for each in clients:
        with pytest.raises(InferenceServerException, match="--admin"):
            each.unload_model("mix")


DECLINED = {
    "get_trace_settings": (),
    "update_trace_settings": ("mix", {"trace_level": ["TIMESTAMPS"]}),
    "get_log_settings": (),
    "update_log_settings": ({"log_verbose_level": 1},),
    "get_system_shared_memory_status": (),
    "register_system_shared_memory": ("input0_data", "/input0_simple", 128),
    "unregister_system_shared_memory": (),
    "get_cuda_shared_memory_status": (),
    "register_cuda_shared_memory": ("input0_data", b"aGFuZGxl", 0, 128),
    "unregister_cuda_shared_memory": ("input0_data",),
}


@pytest.mark.parametrize("call", DECLINED)
def test_what_is_not_supported_says_so(clients: Any, call: str) -> None:
    over_http, over_grpc = clients
    reason = "not supported|over the network"
    with pytest.raises(InferenceServerException, match=reason) as caught:
        getattr(over_http, call)(*DECLINED[call])
    assert caught.value.status() == "501"
    with pytest.raises(InferenceServerException, match=reason) as caught:
        getattr(over_grpc, call)(*DECLINED[call])
    assert "UNIMPLEMENTED" in caught.value.status()


def test_what_is_declined_is_not_an_extension(clients: Any) -> None:
    over_http, over_grpc = clients
    known = over_http.get_server_metadata()["extensions"]
    assert list(over_grpc.get_server_metadata().extensions) == known
    assert known == [
        "binary_tensor_data",
        "classification",
        "generate",
        "model_configuration",
        "statistics",
    ]


def test_a_tensor_in_shared_memory_is_declined(clients: Any, client: httpx.Client) -> None:
    """Never answered with a tensor where its client would not look."""
    row = {"name": "row", "shape": [1, 3], "datatype": "FP32", "data": [0, 0, 0]}
    away = {key: row[key] for key in ("name", "shape", "datatype")} | {"parameters": REGION}
    there = [{"name": "kind", "parameters": REGION}]
    for asked in ({"inputs": [away]}, {"inputs": [row], "outputs": there}):
        answer = client.post("/v2/models/pick/infer", json=asked)
        assert answer.status_code == 501
        assert "shared memory" in answer.json()["error"]
    for module, each in zip((http_client, grpc_client), clients, strict=True):
        given = module.InferInput("row", [1, 3], "FP32")
        given.set_shared_memory("r", 12)
        with pytest.raises(InferenceServerException, match="shared memory"):
            each.infer("pick", [given])
        given.set_data_from_numpy(np.zeros((1, 3), np.float32))
        wanted = module.InferRequestedOutput("kind")
        wanted.set_shared_memory("r", 12)
        with pytest.raises(InferenceServerException, match="shared memory"):
            each.infer("pick", [given], outputs=[wanted])


def test_bfloat16_is_declined_with_the_reason(clients: Any) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for module, each in zip((http_client, grpc_client), clients, strict=True):
        given = module.InferInput("row", [1, 3], "BF16")
        given.set_data_from_numpy(np.zeros((1, 3), ml_dtypes.bfloat16))
        with pytest.raises(InferenceServerException, match="'row' is BF16, which NumPy does not"):
            each.infer("pick", [given])


def test_an_unknown_call_is_unimplemented(grpc_address: str) -> None:
    paths = ("inference.GRPCInferenceService/Dance", "tensorflow.serving.PredictionService/Regress")
    with grpc.insecure_channel(grpc_address) as channel:
        for path in paths:
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(f"/{path}")(b"", timeout=10)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_sequence_on_a_model_without_state_is_a_request_each(clients: Any) -> None:
    """As Triton has it; `sequence` is not among the extensions."""
    for module, each in zip((http_client, grpc_client), clients, strict=True):
        given = module.InferInput("row", [1, 3], "FP32")
        given.set_data_from_numpy(np.array([[0, 9, 0]], np.float32))
        answer = each.infer("pick", [given], sequence_id=7, sequence_start=True)
        assert answer.as_numpy("kind").argmax() == 1


def test_perf_analyzer_finds_all_that_it_reads(client: httpx.Client) -> None:
    """Its C++ asserts that these members exist, and reads shapes behind the batch axis."""
    config = client.get("/v2/models/mix/config").json()
    metadata = client.get("/v2/models/mix").json()
    assert isinstance(config["max_batch_size"], int)
    assert config["model_transaction_policy"] == {"decoupled": False}
    assert {each["name"] for each in config["input"]} == {"first", "second"}
    assert [each["shape"][1:] for each in metadata["inputs"]] == [[4], [4]]
    assert "statistics" in client.get("/v2").json()["extensions"]
    (stats,) = client.get("/v2/models/mix/stats").json()["model_stats"]
    for key in ("inference_count", "execution_count", "last_inference"):
        assert json.dumps(stats[key]).isdigit()
    for key in DURATIONS:
        assert all(json.dumps(each).isdigit() for each in stats["inference_stats"][key].values())
