"""A shadow gets a copy of whatever is answered, by any protocol, and nobody hears it."""

from __future__ import annotations

import asyncio
import base64
import json
import queue
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from modelpad.bundle import Bundle, write_bundle
from modelpad.errors import ModelFailed, Overloaded
from modelpad.fields import Label, Signature
from modelpad.server.budget import ByteBudget
from modelpad.server.lifecycle.shadowing import compare_shadow, outputs_agree
from modelpad.store import LocalStore


@pytest.fixture
def store(tmp_path: Path, digits: Bundle) -> LocalStore:
    """Version 1 answers, 2 is the same and its shadow."""
    made = LocalStore(tmp_path / "store")
    made.push(digits)
    made.promote("digits", 1)
    made.push(digits)
    made.set_shadow("digits", 2)
    return made


@pytest.fixture
def url(serve: Any, store: LocalStore) -> str:
    return str(serve("digits", "--poll-interval", "0.05", store=store.root).url)


@pytest.fixture
def picture(digits: Bundle) -> bytes:
    return digits.path("samples/7.png").read_bytes()


def ask(url: str, picture: bytes) -> dict[str, Any]:
    headers = {"content-type": "image/png"}
    answer: dict[str, Any] = httpx.post(
        f"{url}/predict/digits", content=picture, headers=headers
    ).json()
    return answer


def count_copies(url: str) -> Counter[str]:
    """How many copies were answered, by version and result."""
    counts: Counter[str] = Counter()
    told = re.compile(r'modelpad_shadow_total{.*result="(.+)",version="(.+)"} (.+)')
    for result, version, count in told.findall(httpx.get(f"{url}/metrics").text):
        counts[f"{version} {result}"] += int(count)
    return counts


def test_a_shadow_is_asked_and_never_heard(url: str, picture: bytes, wait_for: Any) -> None:
    assert {ask(url, picture)["version"] for _ in range(20)} == {1}
    wait_for(lambda: count_copies(url) == {"2 same": 20})


def test_a_shadow_that_says_something_else_is_noticed(
    url: str, store: LocalStore, digits: Bundle, picture: bytes, tmp_path: Path, wait_for: Any
) -> None:
    label = digits.manifest.signature.outputs[0]
    assert isinstance(label, Label)
    names = tuple(reversed(label.classes))
    signature = Signature(digits.manifest.signature.inputs, (Label("label", names),))
    files = {name: digits.path(name) for name in digits.manifest.files}
    other = replace(digits.manifest, signature=signature, samples=())
    store.push(write_bundle(tmp_path / "other", other, files))
    store.set_shadow("digits", 3)

    def different() -> bool:
        assert ask(url, picture)["label"] == "7"
        return count_copies(url)["3 different"] > 0

    wait_for(different)
    assert count_copies(url)["3 same"] == 0


def test_binary_answers_are_compared_by_their_numbers(
    url: str, picture: bytes, wait_for: Any
) -> None:
    data = [base64.b64encode(picture).decode()]
    given = {"name": "image", "shape": [1], "datatype": "BYTES", "data": data}
    wanted = {"inputs": [given], "parameters": {"binary_data_output": True}}
    answer = httpx.post(f"{url}/v2/models/digits/infer", json=wanted)
    assert "inference-header-content-length" in answer.headers
    wait_for(lambda: count_copies(url) == {"2 same": 1})


def test_a_stream_is_copied_line_by_line(url: str, picture: bytes, wait_for: Any) -> None:
    """Its lines are answered as they come; those that fail have no answer to compare."""
    line = json.dumps({"image": base64.b64encode(picture).decode()}).encode() + b"\n"
    heard = asyncio.run(ask_twice(url, line))
    assert [json.loads(each)["label"] for each in heard] == ["7", "7"]
    wait_for(lambda: sum(count_copies(url).values()) == 65)
    assert set(count_copies(url)) <= {"2 same", "2 skipped"}


async def ask_twice(url: str, line: bytes) -> list[str]:
    """Sends a line, and another only when one is answered, as no client of whole bodies can."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    chunk = b"%x\r\n%b\r\n" % (len(line), line)
    writer.write(
        b"POST /predict/digits HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n"
        b"content-type: application/x-ndjson\r\n\r\n" + chunk * 64
    )

    async def hear() -> str:
        while not (heard := await asyncio.wait_for(reader.readline(), 10)).startswith(b"{"):
            assert heard
        return heard.decode()

    first = await hear()
    writer.write(chunk + b"8\r\nrubbish\n\r\n0\r\n\r\n")
    rest = [await hear() for _ in range(65)]
    writer.close()
    return [first, rest[-2]]


def test_grpc_is_copied_call_by_call(
    serve: Any, store: LocalStore, picture: bytes, free_port: int, wait_for: Any
) -> None:
    tritonclient = pytest.importorskip("tritonclient.grpc")
    import grpc

    from modelpad.server.protocols.protobuf import load_message

    options = ("--grpc-port", str(free_port))
    url = serve("digits", *options, store=store.root).url
    given = tritonclient.InferInput("image", [1], "BYTES")
    given.set_data_from_numpy(np.array([picture], dtype=object))
    answers: queue.Queue[Any] = queue.Queue()
    with tritonclient.InferenceServerClient(f"127.0.0.1:{free_port}") as client:
        assert client.infer("digits", [given]).get_response().model_version == "1"
        client.start_stream(lambda result, error: answers.put((result, error)))
        client.async_stream_infer("digits", [given])
        assert answers.get(timeout=10)[1] is None
        client.stop_stream()
    wait_for(lambda: count_copies(url) == {"2 same": 2})
    request = load_message("tensorflow.serving.PredictRequest")()
    request.model_spec.name = "digits"
    request.inputs["image"].dtype = 7  # DT_STRING
    request.inputs["image"].tensor_shape.dim.add(size=1)
    request.inputs["image"].string_val.append(picture)
    with grpc.insecure_channel(f"127.0.0.1:{free_port}") as channel:
        channel.unary_unary(
            "/tensorflow.serving.PredictionService/Predict",
            request_serializer=type(request).SerializeToString,
            response_deserializer=load_message("tensorflow.serving.PredictResponse").FromString,
        )(request, timeout=10)
    wait_for(lambda: count_copies(url) == {"2 same": 3})


def test_what_became_of_a_copy_is_told() -> None:
    """Whatever it is, the memory that the copy held is released."""
    budget = ByteBudget(1000)

    async def full() -> object:
        raise Overloaded("full")

    async def broken() -> object:
        raise ModelFailed("broken")

    async def agree() -> object:
        assert budget.used == 100
        return {"label": "7"}

    async def compare_all() -> list[str]:
        held = {"label": "7"}
        results = [await compare_shadow(each, held, budget, 100) for each in (full, broken, agree)]
        results.append(await compare_shadow(agree, {"label": "1"}, budget, 100))
        budget.reserve(950)
        results.append(await compare_shadow(agree, held, budget, 100))
        return results

    told = asyncio.run(compare_all())
    assert told == ["skipped", "failed", "same", "different", "skipped"]
    assert budget.used == 950


def test_answers_are_compared() -> None:
    first = {"model": "m", "version": 1, "label": "a", "scores": {"a": 0.5, "b": 0.5}}
    assert outputs_agree(first, json.loads(json.dumps(first)) | {"version": 2})
    assert outputs_agree({"a": [1.0, 2.0]}, {"a": [1.0, 2.0005]})
    assert not outputs_agree(first, first | {"label": "b"})
    assert not outputs_agree({"a": [1.0]}, {"a": [1.0, 2.0]})
    assert not outputs_agree({"a": 1.0}, {"a": "1"})
    assert outputs_agree({"a": float("nan")}, {"a": float("nan")})
    rows = np.array([[0.25, np.nan]], np.float32)
    assert outputs_agree({"a": rows}, {"a": rows + np.float32(1e-6)})
    assert not outputs_agree({"a": rows}, {"a": rows + 1})
    assert not outputs_agree({"a": rows}, {"a": rows[0]})
    assert not outputs_agree({"a": rows}, {"a": rows.astype(np.float64)})
    assert not outputs_agree(np.array(["a"], object), np.array(["b"], object))


def test_large_answers_are_compared_too(
    serve: Any, tmp_path: Path, build_bundle: Any, wait_for: Any
) -> None:
    """They are written in pieces, and compared as arrays."""
    from onnx import TensorProto, helper

    from modelpad.fields import Tensor

    kind = TensorProto.FLOAT
    store = LocalStore(tmp_path / "store")
    for version, operator in enumerate(("Identity", "Identity", "Neg"), 1):
        signature = Signature(
            (Tensor("x", "float32", (40_000,)),), (Tensor("y", "float32", (40_000,)),)
        )
        nodes = [helper.make_node(operator, ["x"], ["y"])]
        shape = [("x", kind, [40_000])], [("y", kind, [40_000])]
        folder = tmp_path / str(version)
        store.push(build_bundle(folder, "wide", nodes, *shape, signature))
    store.promote("wide", 1)
    store.set_shadow("wide", 2)
    url = serve("wide", "--poll-interval", "0.05", store=store.root).url
    numbers = [1.0] * 40_000
    asked = httpx.post(f"{url}/v1/models/wide:predict", json={"instances": [numbers]})
    assert asked.json() == {"predictions": [numbers]}
    wait_for(lambda: count_copies(url)["2 same"])
    store.set_shadow("wide", 3)

    def is_different() -> bool:
        httpx.post(f"{url}/predict/wide", json={"x": numbers})
        return count_copies(url)["3 different"] > 0

    wait_for(is_different)
    assert count_copies(url)["2 different"] == 0
