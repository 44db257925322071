"""Inputs made to hold up a server: graphs that loop, requests and answers that are very large."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from modelpad.bundle import Bundle, Manifest, Sample, write_bundle
from modelpad.fields import Score, Signature, Tensor

ENDLESS = 10**12
TIMEOUT_S = 2.0


def build(folder: Path, name: str, graph: Any, signature: Signature, sample: Any) -> Bundle:
    """A bundle with a sample, by which its best batch is measured."""
    from onnx import helper

    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, functions=()
    )
    manifest = Manifest(
        name=name,
        task="test",
        title=name,
        signature=signature,
        samples=(Sample(inputs={signature.inputs[0].name: {"value": sample}}, expected=None),),
    )
    return write_bundle(folder / name, manifest, {"model.onnx": model.SerializeToString()})


def build_loop(folder: Path) -> Bundle:
    """`y = 2 n`, found by adding one n times."""
    from onnx import TensorProto as T
    from onnx import helper

    def value(name: str, kind: int, shape: Any) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("Add", ["v", "one"], ["w"]),
        ],
        "body",
        [value("i", T.INT64, []), value("go", T.BOOL, []), value("v", T.FLOAT, None)],
        [value("on", T.BOOL, []), value("w", T.FLOAT, None)],
    )
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMax", ["n"], ["most"], keepdims=0),
            helper.make_node("Cast", ["n"], ["start"], to=T.FLOAT),
            helper.make_node("Loop", ["most", "true", "start"], ["y"], body=body),
        ],
        "loop",
        [value("n", T.INT64, ["batch"])],
        [value("y", T.FLOAT, ["batch"])],
        [
            helper.make_tensor("one", T.FLOAT, [], [1.0]),
            helper.make_tensor("true", T.BOOL, [], [1]),
        ],
    )
    return build(folder, "loop", graph, Signature((Tensor("n", "int64", ()),), (Score("y"),)), 3)


def build_grow(folder: Path) -> Bundle:
    """`y = n + n`, one n being the sum of n ones, that are all in memory."""
    from onnx import TensorProto as T
    from onnx import helper

    graph = helper.make_graph(
        [
            helper.make_node("ReduceMax", ["n"], ["most"], keepdims=0),
            helper.make_node("Reshape", ["most", "flat"], ["size"]),
            helper.make_node(
                "ConstantOfShape",
                ["size"],
                ["ones"],
                value=helper.make_tensor("value", T.FLOAT, [1], [1.0]),
            ),
            helper.make_node("ReduceSum", ["ones"], ["total"], keepdims=0),
            helper.make_node("Cast", ["n"], ["start"], to=T.FLOAT),
            helper.make_node("Add", ["start", "total"], ["y"]),
        ],
        "grow",
        [helper.make_tensor_value_info("n", T.INT64, ["batch"])],
        [helper.make_tensor_value_info("y", T.FLOAT, ["batch"])],
        [helper.make_tensor("flat", T.INT64, [1], [1])],
    )
    return build(folder, "grow", graph, Signature((Tensor("n", "int64", ()),), (Score("y"),)), 3)


def build_widen(folder: Path, width: int, rows: int = 1) -> Bundle:
    """`y` is `x` (4 numbers) times a matrix: `width` numbers; a large answer to a small request."""
    from onnx import TensorProto as T
    from onnx import helper, numpy_helper

    matrix = np.random.default_rng(0).random((4, width), dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "matrix"], ["y"])] * rows,
        "widen",
        [helper.make_tensor_value_info("x", T.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", T.FLOAT, ["batch", width])],
        [numpy_helper.from_array(matrix, "matrix")],
    )
    signature = Signature((Tensor("x", "float32", (4,)),), (Tensor("y", "float32", (width,)),))
    return build(folder, f"widen{width}", graph, signature, [1.0, 2.0, 3.0, 4.0])


def build_slow(folder: Path, layers: int = 24, width: int = 512) -> Bundle:
    """About a millisecond an item, and no faster in a batch."""
    from onnx import TensorProto as T
    from onnx import helper, numpy_helper

    matrix = np.eye(width, dtype=np.float32)
    names = ["x", *(f"x{layer}" for layer in range(1, layers)), "y"]
    graph = helper.make_graph(
        [helper.make_node("MatMul", [a, "matrix"], [b]) for a, b in pairwise(names)],
        "slow",
        [helper.make_tensor_value_info("x", T.FLOAT, ["batch", width])],
        [helper.make_tensor_value_info("y", T.FLOAT, ["batch", width])],
        [numpy_helper.from_array(matrix, "matrix")],
    )
    signature = Signature((Tensor("x", "float32", (width,)),), (Tensor("y", "float32", (width,)),))
    return build(folder, "slow", graph, signature, [1.0] * width)


def ask_digits(url: str, digits: Bundle, client: httpx.Client | None = None) -> httpx.Response:
    picture = digits.path("samples/7.png").read_bytes()
    sent = {"content-type": "image/png"}
    path = f"{url}/predict/digits"
    return (client or httpx).post(path, content=picture, headers=sent, timeout=60)


def ask_number(url: str, model: str, number: int) -> httpx.Response:
    return httpx.post(f"{url}/v1/models/{model}:predict", json={"instances": [number]}, timeout=60)


@contextmanager
def watch_digits(url: str, digits: Bundle) -> Iterator[list[float]]:
    """How long each request of another client takes meanwhile, in seconds."""
    over, latencies = threading.Event(), list[float]()

    def work() -> None:
        with httpx.Client() as client:
            while not over.is_set():
                begin = time.monotonic()
                assert ask_digits(url, digits, client).json()["label"] == "7"
                latencies.append(time.monotonic() - begin)
                time.sleep(0.005)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield latencies
    finally:
        over.set()
        thread.join(60)


def run_all(calls: list[Callable[[], Any]]) -> list[Any]:
    """What they answer, all asked at once."""
    results: list[Any] = [None] * len(calls)

    def call(place: int) -> None:
        results[place] = calls[place]()

    threads = [threading.Thread(target=call, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.slow
def test_an_endless_loop_is_stopped_at_its_deadline(
    serve: Any,
    digits: Bundle,
    tmp_path: Path,
    workers: str,
    wait_for: Any,
    verbose: Any,
    wait_for_log: Any,
) -> None:
    """Twelve requests that loop for ever: each gets 504 on time, others are answered throughout,
    and the engine's threads are free again afterwards."""
    loop = build_loop(tmp_path)
    options = ("--workers", workers, "--timeout", f"{TIMEOUT_S:g}")
    running = serve(str(loop.folder), "digits", *options, store=tmp_path / "store", program=verbose)
    # The loop is short on its sample.
    wait_for_log(": batches of", 2 * int(workers))
    assert ask_number(running.url, "loop", 5).json() == {"predictions": [10.0]}

    def ask() -> tuple[int, float]:
        begin = time.monotonic()
        status = ask_number(running.url, "loop", ENDLESS).status_code
        return status, time.monotonic() - begin

    with watch_digits(running.url, digits) as latencies:
        answers = run_all([ask] * 12)
    assert {status for status, _ in answers} == {504}
    assert max(seconds for _, seconds in answers) < 5 * TIMEOUT_S  # one after the other: 12 of them
    assert len(latencies) > 10
    server = psutil.Process(running.process.pid)
    family = [server, *server.children()]
    wait_for(lambda: sum(each.cpu_percent(0.2) for each in family) < 30)
    assert ask_number(running.url, "loop", 5).json() == {"predictions": [10.0]}
    assert httpx.get(f"{running.url}/healthz").status_code == 200
    assert "modelpad_worker_restarts_total 1" not in httpx.get(f"{running.url}/metrics").text


@pytest.mark.slow
def test_a_request_of_many_rows_holds_up_nobody(
    serve: Any, tmp_path: Path, verbose: Any, wait_for: Any, wait_for_log: Any
) -> None:
    """Others of the same model are answered between its pieces, and all its rows come back."""
    slow = build_slow(tmp_path)
    options = ("--workers", "1")
    running = serve(str(slow.folder), *options, store=tmp_path / "store", program=verbose)
    wait_for_log(": batches of", 1)
    rows, width = 6000, 512
    inputs = np.arange(rows, dtype=np.float32)[:, None].repeat(width, 1)
    head = {
        "inputs": [
            {
                "name": "x",
                "shape": [rows, width],
                "datatype": "FP32",
                "parameters": {"binary_data_size": inputs.nbytes},
            }
        ],
        "parameters": {"binary_data_output": True},
    }
    words = json.dumps(head).encode()
    single = {"inputs": [{"name": "x", "shape": [1, width], "datatype": "FP32"}]}
    single["inputs"][0]["data"] = [3.0] * width
    path = f"{running.url}/v2/models/slow/infer"
    latencies: list[float] = []
    over = threading.Event()

    def ask_one() -> None:
        with httpx.Client() as client:
            while not over.is_set():
                begin = time.monotonic()
                answer = client.post(path, json=single, timeout=60)
                assert answer.json()["outputs"][0]["data"][:2] == [3.0, 3.0]
                latencies.append(time.monotonic() - begin)

    other = threading.Thread(target=ask_one, daemon=True)
    other.start()
    length = {"inference-header-content-length": str(len(words))}
    sent = words + inputs.tobytes()
    shares: list[float] = []
    quarter = 0.25  # of the time, which each of the four takes, if not in pieces
    # A machine that is busy with something else may hold up one of three, never all.
    for _ in range(3):
        first, begin = len(latencies), time.monotonic()
        answers = run_all([lambda: httpx.post(path, content=sent, headers=length, timeout=60)] * 4)
        seconds, last = time.monotonic() - begin, len(latencies)
        wait_for(lambda last=last: len(latencies) > last)
        shares.append(max(latencies[first:]) / seconds)
        if shares[-1] < quarter:
            break
    over.set()
    other.join()
    for large in answers:
        assert large.status_code == 200
        start = int(large.headers["inference-header-content-length"])
        outputs = np.frombuffer(large.content[start:], np.float32).reshape(rows, width)
        np.testing.assert_array_equal(outputs, inputs)
    assert min(shares) < quarter, shares


@pytest.mark.parametrize("protocol", ["tfserving", "columns", "openinference", "generate", "typed"])
@pytest.mark.slow
def test_a_large_answer_in_json_holds_up_nobody(
    serve: Any, digits: Bundle, tmp_path: Path, protocol: str, verbose: Any, wait_for_log: Any
) -> None:
    """Two million numbers take some seconds to write; others are answered between them."""
    width = 2_000_000
    widen = build_widen(tmp_path, width)
    options = ("--workers", "1")
    running = serve(
        str(widen.folder), "digits", *options, store=tmp_path / "store", program=verbose
    )
    wait_for_log(": batches of", 2)
    row = [1.0, 0.5, 0.25, 0.125]
    forms: dict[str, tuple[str, dict[str, Any], Callable[[Any], Any]]] = {
        "tfserving": (
            f"/v1/models/{widen.manifest.name}:predict",
            {"instances": [row]},
            lambda answer: answer["predictions"][0],
        ),
        "columns": (
            f"/v1/models/{widen.manifest.name}:predict",
            {"inputs": [row]},
            lambda answer: answer["outputs"][0],
        ),
        "generate": (
            f"/v2/models/{widen.manifest.name}/generate",
            {"x": row},
            lambda answer: answer["y"],
        ),
        "openinference": (
            f"/v2/models/{widen.manifest.name}/infer",
            {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": row}]},
            lambda answer: answer["outputs"][0]["data"],
        ),
        "typed": (
            f"/predict/{widen.manifest.name}",
            {"x": row},
            lambda answer: answer["outputs"]["y"],
        ),
    }
    path, body, read = forms[protocol]
    shares: list[float] = []
    # A machine that is busy with something else may hold up one of three, never all.
    for _ in range(3):
        begin = time.monotonic()
        with watch_digits(running.url, digits) as latencies:
            answer = httpx.post(running.url + path, json=body, timeout=60)
            seconds = time.monotonic() - begin
        assert answer.status_code == 200
        shares.append(max(latencies) / seconds)
    numbers = np.array(read(json.loads(answer.content)), np.float32)
    matrix = np.random.default_rng(0).random((4, width), dtype=np.float32)
    np.testing.assert_allclose(numbers, np.array([row], np.float32)[0] @ matrix, rtol=1e-5)
    # Written in one go, a client waits 60 to 70 % of it; in pieces, at most 10 %.
    assert min(shares) < 0.4, shares


@pytest.mark.slow
def test_large_answers_are_whole_in_every_form(serve: Any, tmp_path: Path) -> None:
    """Binary tensors, lists, lines, a stream of events, and HTTP/1.0."""
    width = 300_000
    widen = build_widen(tmp_path, width)
    name = widen.manifest.name
    url = serve(str(widen.folder), store=tmp_path / "store").url
    row = [1.0, 0.5, 0.25, 0.125]
    matrix = np.random.default_rng(0).random((4, width), dtype=np.float32)
    expected = np.array([row], np.float32)[0] @ matrix

    def check(numbers: Any) -> None:
        np.testing.assert_allclose(np.array(numbers, np.float32), expected, rtol=1e-5)

    inputs = [{"name": "x", "shape": [4, 4], "datatype": "FP32", "data": row * 4}]
    asked = {"inputs": inputs, "parameters": {"binary_data_output": True}}
    answer = httpx.post(f"{url}/v2/models/{name}/infer", json=asked)
    start = int(answer.headers["inference-header-content-length"])
    assert json.loads(answer.content[:start])["outputs"][0]["shape"] == [4, width]
    for numbers in np.frombuffer(answer.content[start:], np.float32).reshape(4, width):
        check(numbers)
    best = {"outputs": [{"name": "y", "parameters": {"classification": 1}}]}
    answer = httpx.post(f"{url}/v2/models/{name}/infer", json={"inputs": inputs} | best)
    assert {text.split(":")[1] for text in answer.json()["outputs"][0]["data"]} == {
        str(expected.argmax())
    }
    answer = httpx.post(f"{url}/predict/{name}", json=[{"x": row}] * 3 + [{"z": row}])
    for each in answer.json()["predictions"][:3]:
        check(each["outputs"]["y"])
    assert "z" in answer.json()["predictions"][3]["error"]["message"]
    lines = "".join(json.dumps({"x": row}) + "\n" for _ in range(3))
    sent = {"content-type": "application/x-ndjson"}
    answer = httpx.post(f"{url}/predict/{name}", content=lines, headers=sent)
    for line in answer.content.splitlines():
        check(json.loads(line)["outputs"]["y"])
    answer = httpx.post(f"{url}/v2/models/{name}/generate_stream", json={"x": row})
    assert answer.text.startswith("data: ")
    check(json.loads(answer.text.removeprefix("data: "))["y"])
    body = json.dumps({"x": row}).encode()
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), 20) as connection:
        head = f"POST /predict/{name} HTTP/1.0\r\ncontent-type: application/json\r\n"
        connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        received = b"".join(iter(lambda: connection.recv(1 << 20), b""))
    check(json.loads(received.partition(b"\r\n\r\n")[2])["outputs"]["y"])


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is bounded on Linux")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_graph_that_asks_for_too_much_memory_fails_alone(
    serve: Any, digits: Bundle, tmp_path: Path, workers: str
) -> None:
    grow = build_grow(tmp_path)
    options = ("--workers", workers, "--max-worker-memory-mb", "700")
    running = serve(str(grow.folder), "digits", *options, store=tmp_path / "store")
    assert ask_number(running.url, "grow", 7).json() == {"predictions": [14.0]}
    server = psutil.Process(running.process.pid)
    with watch_digits(running.url, digits) as latencies:
        for number in 4 * (10**9, 12 * 10**9, 10**12):
            answer = ask_number(running.url, "grow", number)
            assert answer.status_code == 500
            assert "failed" in answer.json()["error"]
            assert max(each.memory_info().rss for each in (server, *server.children())) < 900e6
    assert len(latencies) > 3
    assert max(each.memory_info().rss for each in (server, *server.children())) < 300e6
    assert ask_number(running.url, "grow", 7).json() == {"predictions": [14.0]}
    assert "modelpad_worker_restarts_total 1" not in httpx.get(f"{running.url}/metrics").text


LEAKY = """
import sys
from modelpad.cli.main import main
from modelpad.server.app import App

kept = []

def leak(method):
    async def respond(self, request):
        taken = int(open("/proc/self/statm").read().split()[5]) * 4096
        if request.path == "/v2" and taken < 0.92 * 400 * 1024 * 1024:
            kept.append(b"x" * 10_000_000)
        return await method(self, request)
    return respond

App.respond = leak(App.respond)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is bounded on Linux")
@pytest.mark.slow
def test_a_worker_whose_memory_only_grows_is_replaced(
    serve: Any, digits: Bundle, tmp_path: Path, wait_for: Any
) -> None:
    """Before its limit makes all its requests fail; no request is lost."""
    options = ("--workers", "2", "--max-worker-memory-mb", "400")
    running = serve("digits", *options, store=tmp_path / "store", program=("-c", LEAKY))
    server = psutil.Process(running.process.pid)
    first = {each.pid for each in server.children()}

    def leak() -> bool:
        assert httpx.get(f"{running.url}/v2").status_code == 200
        text = httpx.get(f"{running.url}/metrics").text
        return "modelpad_worker_restarts_total 1" in text or "_restarts_total 2" in text

    with watch_digits(running.url, digits) as latencies:
        wait_for(leak, 40)
    assert len(latencies) > 20
    wait_for(lambda: len({each.pid for each in server.children()} - first) >= 1)
