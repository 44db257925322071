"""gRPC with the real client of Triton, the health check, and TensorFlow Serving's messages."""

from __future__ import annotations

import queue
import time
from typing import Any

import httpx
import numpy as np
import pytest

from modelpad.bundle import Bundle

grpc = pytest.importorskip("grpc")
tritonclient = pytest.importorskip("tritonclient.grpc")

from tritonclient.utils import InferenceServerException  # noqa: E402

from modelpad.server.protocols import grpc_tensorflow  # noqa: E402
from modelpad.server.protocols.grpc_tensorflow import read_tensor  # noqa: E402
from modelpad.server.protocols.protobuf import load_message  # noqa: E402


def write_tensor(array: Any) -> Any:
    """A TensorProto as the server writes it."""
    data = b"".join(grpc_tensorflow.write_tensor(array))
    return load_message("tensorflow.TensorProto").FromString(data)


@pytest.fixture(scope="module")
def triton(grpc_address: str) -> Any:
    with tritonclient.InferenceServerClient(grpc_address) as client:
        yield client


def make_inputs() -> tuple[list[Any], Any]:
    first, second = np.arange(8, dtype=np.int32).reshape(2, 4), np.full((2, 4), 3, np.int32)
    inputs = []
    for name, array in (("first", first), ("second", second)):
        inputs.append(tritonclient.InferInput(name, array.shape, "INT32"))
        inputs[-1].set_data_from_numpy(array)
    return inputs, first + second


def test_the_client_sees_a_server(triton: Any) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("mix")
    assert not triton.is_model_ready("nothing")
    assert triton.get_server_metadata().name == "modelpad"
    metadata = triton.get_model_metadata("mix", as_json=True)
    assert [tensor["name"] for tensor in metadata["inputs"]] == ["first", "second"]
    assert metadata["inputs"][0]["shape"] == ["-1", "4"]


def test_inference(triton: Any, digits: Bundle) -> None:
    inputs, total = make_inputs()
    answer = triton.infer("mix", inputs, request_id="seven", model_version="1")
    np.testing.assert_array_equal(answer.as_numpy("total"), total)
    assert answer.get_response().id == "seven"
    chosen = [tritonclient.InferRequestedOutput("total")]
    answer = triton.infer("mix", inputs, outputs=chosen)
    assert answer.as_numpy("apart") is None
    pictures = [digits.path(f"samples/{n}.png").read_bytes() for n in (4, 7)]
    given = tritonclient.InferInput("image", [2], "BYTES")
    given.set_data_from_numpy(np.array(pictures, dtype=object))
    scores = triton.infer("digits", [given]).as_numpy("label")
    assert scores.argmax(axis=1).tolist() == [4, 7]
    row = tritonclient.InferInput("row", [1, 3], "FP32")
    row.set_data_from_numpy(np.array([[0, 9, 1]], np.float32))
    best = [tritonclient.InferRequestedOutput("kind", class_count=1)]
    answer = triton.infer("pick", [row], outputs=best).as_numpy("kind")
    assert answer[0][0].decode().endswith(":1:b")


def test_a_large_picture_needs_little_more_than_its_bytes(triton: Any, digits: Bundle) -> None:
    picture = digits.path("samples/4.png").read_bytes() + bytes(11 * 1024 * 1024)
    given = tritonclient.InferInput("image", [1], "BYTES")
    given.set_data_from_numpy(np.array([picture], dtype=object))
    assert triton.infer("digits", [given]).as_numpy("label").argmax() == 4


def test_asynchronous_and_streaming(triton: Any, protocols: str, wait_for: Any) -> None:
    inputs, total = make_inputs()
    answers: queue.Queue[Any] = queue.Queue()
    for _ in range(5):
        triton.async_infer("mix", inputs, lambda result, error: answers.put((result, error)))
    for _ in range(5):
        result, error = answers.get(timeout=10)
        assert error is None
        np.testing.assert_array_equal(result.as_numpy("total"), total)
    triton.start_stream(lambda result, error: answers.put((result, error)))
    triton.async_stream_infer("mix", inputs)
    triton.async_stream_infer("nothing", inputs)
    triton.async_stream_infer("mix", inputs)
    heard = [answers.get(timeout=10) for _ in range(3)]
    triton.stop_stream()
    assert [error is None for _, error in heard] == [True, False, True]
    np.testing.assert_array_equal(heard[2][0].as_numpy("total"), total)
    assert "Known models: " in heard[1][1].message()
    counted = 'modelpad_grpc_calls_total{code="OK",method="ModelStreamInfer"}'
    wait_for(lambda: counted in httpx.get(f"http://{protocols}/metrics").text)


def test_errors_have_their_codes(triton: Any) -> None:
    inputs, _ = make_inputs()
    with pytest.raises(InferenceServerException, match="No model named") as caught:
        triton.infer("nothing", inputs)
    assert "NOT_FOUND" in str(caught.value.status())
    with pytest.raises(InferenceServerException, match="'second' is missing") as caught:
        triton.infer("mix", inputs[:1])
    assert "INVALID_ARGUMENT" in str(caught.value.status())


def call(address: str, path: str, request: Any, answer: str) -> Any:
    with grpc.insecure_channel(address) as channel:
        asked = channel.unary_unary(
            path,
            request_serializer=type(request).SerializeToString,
            response_deserializer=load_message(answer).FromString,
        )
        return asked(request, timeout=10)


def test_typed_contents(grpc_address: str) -> None:
    request = load_message("inference.ModelInferRequest")(model_name="mix")
    for name in ("first", "second"):
        tensor = request.inputs.add(name=name, datatype="INT32", shape=[1, 4])
        tensor.contents.int_contents.extend([1, 2, 3, 4])
    path = "/inference.GRPCInferenceService/ModelInfer"
    answer = call(grpc_address, path, request, "inference.ModelInferResponse")
    assert list(answer.outputs[0].contents.int_contents) == [2, 4, 6, 8]  # as KServe answers
    raw = np.array([2, 4, 6, 8], "<i4").tobytes()  # as Triton answers
    assert answer.raw_output_contents[0] == raw
    request.inputs[0].contents.int_contents.append(5)
    with pytest.raises(grpc.RpcError) as caught:
        call(grpc_address, path, request, "inference.ModelInferResponse")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    request.raw_input_contents.append(b"1234")
    with pytest.raises(grpc.RpcError):
        call(grpc_address, path, request, "inference.ModelInferResponse")


def test_every_field_of_the_open_inference_protocol(grpc_address: str) -> None:
    def ask(name: str, /, **fields: Any) -> Any:
        request = load_message(f"inference.{name}Request")(**fields)
        path = f"/inference.GRPCInferenceService/{name}"
        return call(grpc_address, path, request, f"inference.{name}Response")

    assert ask("ServerLive").live
    assert ask("ServerReady").ready
    assert ask("ModelReady", name="mix").ready
    assert ask("ModelReady", name="mix", version="1").ready
    assert not ask("ModelReady", name="mix", version="9").ready
    server = ask("ServerMetadata")
    assert server.name
    assert server.version
    assert "generate" in server.extensions
    model = ask("ModelMetadata", name="mix", version="1")
    assert (model.name, list(model.versions)) == ("mix", ["1"])
    assert model.platform.count("_") == 1
    told = [(each.name, each.datatype, list(each.shape)) for each in model.outputs]
    assert told == [("total", "INT32", [-1, 4]), ("apart", "INT32", [-1, 4])]
    for fields in ({"name": "nothing"}, {"name": "mix", "version": "9"}):
        with pytest.raises(grpc.RpcError) as caught:
            ask("ModelMetadata", **fields)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    inputs = [
        {
            "name": name,
            "datatype": "INT32",
            "shape": [1, 4],
            "contents": {"int_contents": [1, 2, 3, 4]},
        }
        for name in ("first", "second")
    ]
    answer = ask("ModelInfer", model_name="mix", model_version="1", id="42", inputs=inputs)
    assert (answer.model_name, answer.model_version, answer.id) == ("mix", "1", "42")
    assert [each.name for each in answer.outputs] == ["total", "apart"]
    assert list(answer.outputs[0].shape) == [1, 4]
    for wrong in (
        {"shape": [-1, 4]},
        {"shape": [2**40, 2**40]},
        {"datatype": "INT7"},
        {"datatype": ""},
        {"name": ""},
        {"datatype": "FP16"},
        {"datatype": "INT8", "contents": {"int_contents": [1, 2, 3, 200]}},
    ):
        with pytest.raises(grpc.RpcError) as caught:
            ask("ModelInfer", model_name="mix", inputs=[inputs[0] | wrong, inputs[1]])
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, wrong
    with pytest.raises(grpc.RpcError) as caught:
        ask("ModelInfer", model_name="mix", inputs=inputs, outputs=[{"name": "other"}])
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_one_value_fills_no_shape_beyond_all_memory(grpc_address: str) -> None:
    request = load_message("tensorflow.serving.PredictRequest")()
    request.model_spec.name = "pick"
    proto = request.inputs["row"]
    proto.CopyFrom(write_tensor(np.zeros((1, 1), np.float32)))
    path = "/tensorflow.serving.PredictionService/Predict"
    for side in (2**36, -3):
        proto.tensor_shape.dim[0].size = side
        with pytest.raises(grpc.RpcError) as caught:
            call(grpc_address, path, request, "tensorflow.serving.PredictResponse")
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_health_of_a_service(grpc_address: str) -> None:
    path, answer = "/grpc.health.v1.Health/Check", "grpc.health.v1.HealthCheckResponse"
    ask = load_message("grpc.health.v1.HealthCheckRequest")
    known = ask(service="inference.GRPCInferenceService")
    assert call(grpc_address, path, known, answer).status == 1
    with pytest.raises(grpc.RpcError) as caught:
        call(grpc_address, path, ask(service="nothing"), answer)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_health(grpc_address: str) -> None:
    request = load_message("grpc.health.v1.HealthCheckRequest")()
    answer = call(
        grpc_address, "/grpc.health.v1.Health/Check", request, "grpc.health.v1.HealthCheckResponse"
    )
    assert answer.status == 1


def test_tensorflow_serving(grpc_address: str) -> None:
    request = load_message("tensorflow.serving.PredictRequest")()
    request.model_spec.name = "pick"
    request.model_spec.signature_name = "serving_default"
    rows = np.array([[0, 9, 0], [9, 0, 0]], np.float32)
    request.inputs["row"].CopyFrom(write_tensor(rows))
    path = "/tensorflow.serving.PredictionService/Predict"
    answer = call(grpc_address, path, request, "tensorflow.serving.PredictResponse")
    scores = np.array(answer.outputs["kind"].float_val).reshape(2, 3)
    assert scores.argmax(axis=1).tolist() == [1, 0]
    assert answer.model_spec.version.value == 1
    request.inputs["row"].ClearField("float_val")
    request.inputs["row"].tensor_content = rows.tobytes()
    again = call(grpc_address, path, request, "tensorflow.serving.PredictResponse")
    assert again.outputs["kind"].float_val == answer.outputs["kind"].float_val
    asked = load_message("tensorflow.serving.GetModelMetadataRequest")()
    asked.model_spec.name = "pick"
    asked.metadata_field.append("signature_def")
    path = "/tensorflow.serving.PredictionService/GetModelMetadata"
    told = call(grpc_address, path, asked, "tensorflow.serving.GetModelMetadataResponse")
    signatures = load_message("tensorflow.serving.SignatureDefMap").FromString(
        told.metadata["signature_def"].value
    )
    assert signatures.signature_def["serving_default"].inputs["row"].dtype == 1
    status = load_message("tensorflow.serving.GetModelStatusRequest")()
    status.model_spec.name = "pick"
    path = "/tensorflow.serving.ModelService/GetModelStatus"
    answer = call(grpc_address, path, status, "tensorflow.serving.GetModelStatusResponse")
    assert [(one.version, one.state) for one in answer.model_version_status] == [(1, 30)]


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "float16", "int8", "int64", "uint32", "bool"]
)
def test_every_type_goes_there_and_back(dtype: str) -> None:
    array = np.array([[0, 1, 2], [3, 4, 5]]).astype(dtype)
    np.testing.assert_array_equal(read_tensor(write_tensor(array), "x"), array)
    one = write_tensor(array[:1, :1])
    one.tensor_shape.dim[1].size = 4
    assert read_tensor(one, "x").shape == (1, 4)


def test_a_port_in_use_and_a_stop(run_modelpad: Any, grpc_address: str) -> None:
    port = grpc_address.rpartition(":")[2]
    begin = time.monotonic()
    done = run_modelpad("serve", "digits", "--port", "0", "--grpc-port", port)
    assert done.returncode == 1
    assert f"Port {port}" in done.stderr
    assert "--grpc-port" in done.stderr
    assert time.monotonic() - begin < 20
