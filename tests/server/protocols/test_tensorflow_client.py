"""TensorFlow Serving's own stubs against a server; `make test-frameworks` runs this."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
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

from tests.warm_python import WarmPython  # noqa: E402


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


def save_models(folder: Path) -> None:
    """half_plus_two, and a classifier under the names that mnist_client.py has."""
    half = tf.Module()
    half.predict = tf.function(
        lambda x: {"y": x * 0.5 + 2.0}, input_signature=[tf.TensorSpec([None], tf.float32, "x")]
    )
    tf.saved_model.save(half, str(folder / "half_plus_two"), {"serving_default": half.predict})
    mnist = tf.Module()
    mnist.weights = tf.Variable(np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3))
    mnist.predict = tf.function(
        lambda images: {"scores": tf.nn.softmax(images @ mnist.weights)},
        input_signature=[tf.TensorSpec([None, 4], tf.float32, "images")],
    )
    tf.saved_model.save(mnist, str(folder / "mnist"), {"predict_images": mnist.predict})


@pytest.fixture(scope="module")
def saved_models(
    tmp_path_factory: pytest.TempPathFactory,
    start_serving: Callable[..., AbstractContextManager[tuple[Any, str]]],
    warm_python: WarmPython,
) -> Iterator[Any]:
    """A channel to a server with these SavedModels, imported."""
    folder, store = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("store")
    save_models(folder)
    for name in ("half_plus_two", "mnist"):
        words = ["import", str(folder / name), "--store", str(store)]
        warm_python.run(words, cwd=folder, env=os.environ).check_returncode()
    with (
        start_serving("half_plus_two", "mnist", store=store) as (_, address),
        grpc.insecure_channel(address) as opened,
    ):
        yield opened


@pytest.mark.slow
@pytest.mark.long
def test_half_plus_two(saved_models: Any) -> None:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(saved_models)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "half_plus_two"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0, 2.0, 5.0]))
    answer = stub.Predict(request, 10.0)
    assert list(answer.outputs["y"].float_val) == [2.5, 3.0, 4.5]


@pytest.mark.slow
@pytest.mark.long
def test_mnist_client(saved_models: Any) -> None:
    """As mnist_client.py asks: its own signature, input and output."""
    stub = prediction_service_pb2_grpc.PredictionServiceStub(saved_models)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "mnist"
    request.model_spec.signature_name = "predict_images"
    images = np.array([[0.0, 1.0, 0.0, 0.0]], np.float32)
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(images, shape=images.shape))
    answer = stub.Predict(request, 10.0)
    scores = np.exp(np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)[1])
    np.testing.assert_allclose(answer.outputs["scores"].float_val, scores / scores.sum(), atol=1e-5)
