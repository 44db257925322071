"""TensorFlow Serving's own stubs against a server; `make test-frameworks` runs this."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow_serving")
grpc = pytest.importorskip("grpc")

import tensorflow as tf  # noqa: E402
from tensorflow_serving.apis import (  # noqa: E402
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)


@pytest.fixture(scope="module")
def channel(grpc_address: str) -> Iterator[Any]:
    with grpc.insecure_channel(grpc_address) as opened:
        yield opened


def test_predict(channel: Any) -> None:
    """As its mnist_client.py asks: tensors made by TensorFlow, scores read from `float_val`."""
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    rows = np.array([[0, 9, 0], [9, 0, 0]], np.float32)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "pick"
    request.model_spec.signature_name = "serving_default"
    request.inputs["row"].CopyFrom(tf.make_tensor_proto(rows, shape=rows.shape))
    answer = stub.Predict(request, 10.0)
    scores = np.array(answer.outputs["kind"].float_val).reshape(2, 3)
    assert scores.argmax(axis=1).tolist() == [1, 0]
    np.testing.assert_allclose(tf.make_ndarray(answer.outputs["kind"]), scores)
    later = stub.Predict.future(request, 10.0)
    assert later.result().outputs["kind"].float_val == answer.outputs["kind"].float_val
    request.model_spec.name = "nothing"
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(request, 10.0)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_metadata_and_status(channel: Any) -> None:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = "pick"
    request.metadata_field.append("signature_def")
    answer = stub.GetModelMetadata(request, 10.0)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)
    signature = signatures.signature_def["serving_default"]
    assert signature.inputs["row"].dtype == tf.float32.as_datatype_enum
    assert [dim.size for dim in signature.outputs["kind"].tensor_shape.dim] == [-1, 3]
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = "pick"
    told = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(status, 10.0)
    assert told.model_version_status[0].state == 30
