"""Every protocol's predictions go the one way: `modelpad_prediction_seconds` counts each."""

from __future__ import annotations

import json
import queue
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import pytest

MIX = {"first": [1, 2, 3, 4], "second": [1, 1, 1, 1]}
TENSORS = [
    {"name": name, "shape": [1, 4], "datatype": "INT32", "data": data} for name, data in MIX.items()
]
REQUESTS = {
    "native": ("/predict/mix", MIX),
    "predict": ("/v1/models/mix:predict", {"instances": [MIX]}),
    "classify": ("/v1/models/pick:classify", {"examples": [{"row": [0, 5, 0]}]}),
    "regress": ("/v1/models/half_plus_two:regress", {"examples": [{"x": 1.0}]}),
    "infer": ("/v2/models/mix/infer", {"inputs": TENSORS}),
    "generate": ("/v2/models/mix/generate", MIX),
    "generate_stream": ("/v2/models/mix/generate_stream", MIX),
}


def count(address: str) -> float:
    """How many predictions were counted, of all models."""
    text = httpx.get(f"http://{address}/metrics").text
    return sum(map(float, re.findall(r"^modelpad_prediction_seconds_count{.*} (.+)$", text, re.M)))


@contextmanager
def counted(address: str, predictions: int) -> Iterator[None]:
    """Checks that what is done meanwhile counts as so many predictions."""
    before = count(address)
    yield
    assert count(address) - before == predictions


@pytest.mark.parametrize("name", REQUESTS)
def test_http_is_counted(protocols: str, name: str) -> None:
    path, body = REQUESTS[name]
    with counted(protocols, 1):
        assert httpx.post(f"http://{protocols}{path}", json=body).status_code == 200


def test_each_item_of_a_list_is_counted(protocols: str) -> None:
    with counted(protocols, 2):
        items = [MIX, {"wrong": 1}, MIX]
        answer = httpx.post(f"http://{protocols}/predict/mix", json=items).json()
    assert ["error" in each for each in answer["predictions"]] == [False, True, False]


def test_each_line_is_counted(protocols: str) -> None:
    with counted(protocols, 2):
        lines = "\n".join([json.dumps(MIX), "rubbish", json.dumps(MIX)])
        headers = {"content-type": "application/x-ndjson"}
        url = f"http://{protocols}/predict/mix"
        assert len(httpx.post(url, content=lines, headers=headers).text.splitlines()) == 3


def test_what_fails_is_not_counted(protocols: str) -> None:
    with counted(protocols, 0):
        answer = httpx.post(f"http://{protocols}/predict/mix", json={"first": 1})
        assert answer.status_code == 422


def test_grpc_inference_is_counted(both: tuple[str, str]) -> None:
    tritonclient = pytest.importorskip("tritonclient.grpc")
    given = [tritonclient.InferInput(name, [1, 4], "INT32") for name in MIX]
    for each, data in zip(given, MIX.values(), strict=True):
        each.set_data_from_numpy(np.array([data], np.int32))
    answers: queue.Queue[Any] = queue.Queue()
    with tritonclient.InferenceServerClient(both[1]) as client:
        with counted(both[0], 1):
            client.infer("mix", given)
        with counted(both[0], 2):
            client.start_stream(lambda result, error: answers.put((result, error)))
            for name in ("mix", "nothing", "mix"):
                client.async_stream_infer(name, given)
            errors = [answers.get(timeout=10)[1] for _ in range(3)]
            client.stop_stream()
    assert [error is None for error in errors] == [True, False, True]


def test_grpc_tensorflow_serving_is_counted(both: tuple[str, str]) -> None:
    grpc = pytest.importorskip("grpc")
    from modelpad.server.protocols.protobuf import load_message

    request = load_message("tensorflow.serving.PredictRequest")()
    request.model_spec.name = "mix"
    for name, data in MIX.items():
        request.inputs[name].dtype = 3  # DT_INT32
        for side in (1, 4):
            request.inputs[name].tensor_shape.dim.add(size=side)
        request.inputs[name].int_val.extend(data)
    with counted(both[0], 1), grpc.insecure_channel(both[1]) as channel:
        channel.unary_unary(
            "/tensorflow.serving.PredictionService/Predict",
            request_serializer=type(request).SerializeToString,
            response_deserializer=load_message("tensorflow.serving.PredictResponse").FromString,
        )(request, timeout=10)
