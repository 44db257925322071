"""Tensor protocols speak the model's own tensors: names, dtypes, ranks and value ranges."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx

from modelpad.runtime import load_onnxruntime
from tests.conftest import Server
from tests.convert.raw_graphs import CASES, Case, channels_first, graph, node
from tests.warm_python import WarmPython

NAMES = sorted(CASES)
DATATYPES = {"float32": "FP32", "int32": "INT32", "int64": "INT64", "uint8": "UINT8"}


def datatype(array: Any) -> str:
    return "BYTES" if array.dtype.kind in "OSU" else DATATYPES[str(array.dtype)]


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    return {name: make() for name, make in CASES.items()}


@dataclass(frozen=True)
class Served:
    """Where all graphs are served."""

    url: str
    grpc: str


@pytest.fixture(scope="module")
def served(
    cases: dict[str, Case],
    tmp_path_factory: pytest.TempPathFactory,
    start_serving: Callable[..., AbstractContextManager[tuple[Server, str]]],
    warm_python: WarmPython,
) -> Iterator[Served]:
    """All graphs, imported in processes of their own and served under their names."""
    folder = tmp_path_factory.mktemp("raw")
    for name, case in cases.items():
        onnx.save(case.model, folder / f"{name}.onnx")
        words = ["import", f"{name}.onnx", "--name", name, *case.arguments]
        environment = os.environ | {"MODELPAD_STORE": str(folder / "store")}
        done = warm_python.run(words, cwd=folder, env=environment)
        assert done.returncode == 0, done.stderr
    with start_serving(*cases, "--workers", "1", store=folder / "store") as (running, address):
        yield Served(running.url, address)


def expect(case: Case) -> dict[str, Any]:
    """ONNX Runtime's own outputs."""
    session = load_onnxruntime().InferenceSession(case.model.SerializeToString())
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(case.inputs)), strict=True))


def same(got: Any, wanted: Any) -> None:
    got = np.asarray(got)
    assert got.shape == wanted.shape
    if wanted.dtype.kind in "OSU":
        assert [str(each) for each in got.reshape(-1)] == [str(v) for v in wanted.reshape(-1)]
    else:
        np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_open_inference_in_json(served: Served, cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    tensors = [
        {
            "name": each,
            "datatype": datatype(array),
            "shape": list(array.shape),
            "data": array.reshape(-1).tolist(),
        }
        for each, array in case.inputs.items()
    ]
    reply = httpx.post(f"{served.url}/v2/models/{name}/infer", json={"inputs": tensors})
    assert reply.status_code == 200, reply.text
    outputs = {each["name"]: each for each in reply.json()["outputs"]}
    wanted = expect(case)
    assert [*outputs] == [*wanted]
    for each, array in wanted.items():
        assert outputs[each]["datatype"] == datatype(array)
        same(np.array(outputs[each]["data"]).reshape(outputs[each]["shape"]), array)


@pytest.mark.parametrize("name", NAMES)
def test_metadata_is_the_graphs(served: Served, cases: dict[str, Case], name: str) -> None:
    told = httpx.get(f"{served.url}/v2/models/{name}").json()
    session = load_onnxruntime().InferenceSession(cases[name].model.SerializeToString())
    for side, values in (("inputs", session.get_inputs()), ("outputs", session.get_outputs())):
        wanted = [
            (value.name, [side if isinstance(side, int) else -1 for side in value.shape])
            for value in values
        ]
        assert [(each["name"], each["shape"]) for each in told[side]] == wanted


@pytest.mark.parametrize("name", NAMES)
def test_tensorflow_serving_columns(served: Served, cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    columns = {each: array.tolist() for each, array in case.inputs.items()}
    reply = httpx.post(f"{served.url}/v1/models/{name}:predict", json={"inputs": columns})
    assert reply.status_code == 200, reply.text
    outputs, wanted = reply.json()["outputs"], expect(case)
    if len(wanted) == 1:
        outputs = {next(iter(wanted)): outputs}
    for each, array in wanted.items():
        same(np.array(outputs[each]), array)


@pytest.mark.parametrize("name", [name for name in NAMES if CASES[name]().by_rows])
def test_tensorflow_serving_rows(served: Served, cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    count = len(next(iter(case.inputs.values())))
    rows = [{k: array[row].tolist() for k, array in case.inputs.items()} for row in range(count)]
    reply = httpx.post(f"{served.url}/v1/models/{name}:predict", json={"instances": rows})
    assert reply.status_code == 200, reply.text
    predictions, wanted = reply.json()["predictions"], expect(case)
    for each, array in wanted.items():
        column = predictions if len(wanted) == 1 else [row[each] for row in predictions]
        same(np.array(column), array)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("name", NAMES)
def test_tritons_clients(served: Served, cases: dict[str, Case], name: str, protocol: str) -> None:
    client = pytest.importorskip(f"tritonclient.{protocol}")
    case = cases[name]
    inputs = []
    for each, array in case.inputs.items():
        tensor = client.InferInput(each, list(array.shape), datatype(array))
        inputs.append(tensor.set_data_from_numpy(array))
    address = served.grpc if protocol == "grpc" else served.url.partition("://")[2]
    with client.InferenceServerClient(address) as triton:
        reply = triton.infer(name, inputs)
        for each, array in expect(case).items():
            got = reply.as_numpy(each)
            if array.dtype.kind in "OSU":
                got = np.array([one.decode() for one in got.reshape(-1)]).reshape(got.shape)
            same(got, array)


def png(pixels: Any) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_an_encoded_image_is_prepared(served: Served, cases: dict[str, Case]) -> None:
    """`b64` and BYTES images are scaled and laid out as the user said; float arrays are not."""
    pixels = np.random.default_rng(1).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    case = channels_first()
    raw = (pixels.astype(np.float32) / 255).transpose(2, 0, 1)[None]
    session = load_onnxruntime().InferenceSession(cases["channels_first"].model.SerializeToString())
    wanted = session.run(None, {"data_0": raw})[0]
    body = {"instances": [{"b64": base64.b64encode(png(pixels)).decode()}]}
    reply = httpx.post(f"{served.url}/v1/models/channels_first:predict", json=body)
    np.testing.assert_allclose(reply.json()["predictions"], wanted, rtol=1e-5)
    typed = httpx.post(
        f"{served.url}/predict/channels_first",
        content=png(pixels),
        headers={"content-type": "image/png"},
    )
    np.testing.assert_allclose(typed.json()["outputs"]["fc6_1"], wanted[0], rtol=1e-5)
    assert case.inputs


def test_a_picture_of_bytes_is_not_scaled(served: Served) -> None:
    pixels = np.full((12, 12, 3), 131, np.uint8)
    reply = httpx.post(
        f"{served.url}/predict/bytes_picture",
        content=png(pixels),
        headers={"content-type": "image/png"},
    )
    assert reply.json()["outputs"] == {"score": 131.0}


def test_two_states_answer_alone(served: Served, cases: dict[str, Case]) -> None:
    """A model with a scalar input takes one request at a time, whatever its batch."""
    case = cases["stateful"]
    several = {
        "input": np.repeat(case.inputs["input"], 3, axis=0),
        "state": np.repeat(case.inputs["state"], 3, axis=1),
        "sr": case.inputs["sr"],
    }
    body = {"inputs": {name: array.tolist() for name, array in several.items()}}
    reply = httpx.post(f"{served.url}/v1/models/stateful:predict", json=body)
    assert np.array(reply.json()["outputs"]["stateN"]).shape == (2, 3, 8)


def test_a_float_picture_without_scale_is_refused(run_import: Any, tmp_path: Path) -> None:
    onnx.save(channels_first().model, tmp_path / "net.onnx")
    done = run_import("net.onnx")
    assert done.returncode == 2
    assert "which range their pixels have" in done.stderr
    assert "scale=0..1" in done.stderr
    done = run_import("net.onnx", "--input", "tensor")
    assert done.returncode == 0, done.stderr


def test_constant_answers_are_refused(run_import: Any, tmp_path: Path) -> None:
    nodes = [node("Mul", "x zero", "y")]
    model = graph(nodes, [("x", 1, ["n", 2])], [("y", 1, ["n", 2])], zero=np.float32(0))
    onnx.save(model, tmp_path / "zero.onnx")
    done = run_import("zero.onnx")
    assert done.returncode == 1
    assert "--samples" in done.stderr


def test_a_wrong_size_is_the_clients_mistake(run_import: Any, serve: Any, tmp_path: Path) -> None:
    """A graph may leave sides open and still need a certain size."""
    nodes = [node("Flatten", "x", "f"), node("MatMul", "f w", "y")]
    model = graph(
        nodes,
        [("x", 1, ["n", "h", "w", 3])],
        [("y", 1, ["n", 2])],
        w=np.random.default_rng(0).normal(size=(10 * 10 * 3, 2)).astype(np.float32),
    )
    onnx.save(model, tmp_path / "sized.onnx")
    done = run_import("sized.onnx", "--input", "image:10x10x3,scale=none")
    assert done.returncode == 0, done.stderr
    url = serve("sized", store=tmp_path / "store").url
    for side, status in ((10, 200), (11, 422), (10, 200)):
        body = {"inputs": np.zeros((1, side, side, 3)).tolist()}
        reply = httpx.post(f"{url}/v1/models/sized:predict", json=body)
        assert (reply.status_code == 200) == (status == 200)
        assert reply.status_code in (status, 400)
