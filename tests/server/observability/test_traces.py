"""Traces as a real collector would get them: OTLP over HTTP, on this machine."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PHASES = ["queue", "prepare", "inference", "encode"]

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the otel extra")


class Collector:
    """Keeps every span that is sent to it."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.resources: list[Any] = []
        self.paths: set[str] = set()

    def take(self, path: str, body: bytes) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceRequest,
        )

        self.paths.add(path)
        for each in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append(read_attributes(each.resource))
            self.spans += [span for scope in each.scope_spans for span in scope.spans]

    def wait_for(self, name: str, seconds: float = 10) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for span in self.spans:
                if span.name == name:
                    return span
            time.sleep(0.02)
        raise AssertionError(f"no span {name!r} among {[span.name for span in self.spans]}")

    def children_of(self, span: Any) -> list[Any]:
        return [each for each in self.spans if each.parent_span_id == span.span_id]


def read_attributes(told: Any) -> dict[str, Any]:
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value")) for each in told.attributes
    }


@pytest.fixture
def collector() -> Iterator[tuple[str, Collector]]:
    kept = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            kept.take(self.path, self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", kept
    server.shutdown()
    server.server_close()


def test_a_request_is_a_span_with_the_phases_of_its_batch(
    serve: Any, bundles: Path, tmp_path: Path, collector: tuple[str, Collector]
) -> None:
    endpoint, kept = collector
    pick = str(bundles / "pick")
    running = serve(pick, "--otlp-endpoint", endpoint, store=tmp_path / "store")
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "seven"}
    answer = httpx.post(f"{running.url}/predict/pick", json={"row": [0, 5, 0]}, headers=headers)
    assert answer.headers["x-request-id"] == "seven"
    span = kept.wait_for("POST /predict/{model}")
    assert kept.paths == {"/v1/traces"}
    assert kept.resources[0]["service.name"] == "modelpad"
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert read_attributes(span) == {
        "http.request.method": "POST",
        "http.route": "/predict/{model}",
        "http.response.status_code": 200,
        "url.path": "/predict/pick",
        "modelpad.model": "pick",
        "modelpad.version": 1,
        "modelpad.request_id": "seven",
    }
    phases = kept.children_of(span)
    assert [each.name for each in phases] == PHASES
    assert all(each.trace_id.hex() == TRACE for each in phases)
    times = [
        time for each in phases for time in (each.start_time_unix_nano, each.end_time_unix_nano)
    ]
    assert times == sorted(times)
    assert span.start_time_unix_nano - 1_000_000 <= times[0]
    assert times[-1] <= span.end_time_unix_nano


def test_a_text_is_a_span_with_the_phases_of_its_first_step(
    serve: Any, tmp_path: Path, collector: tuple[str, Collector]
) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("tokenizers")
    from tests.text_graphs import write_writer

    endpoint, kept = collector
    write_writer(tmp_path / "writer")
    store = tmp_path / "store"
    running = serve(str(tmp_path / "writer"), "--otlp-endpoint", endpoint, store=store)
    record = {"model": "writer", "prompt": "hello", "max_tokens": 4, "ignore_eos": True}
    assert httpx.post(f"{running.url}/v1/completions", json=record).status_code == 200
    span = kept.wait_for("POST /v1/completions")
    assert [each.name for each in kept.children_of(span)] == PHASES
    metrics = httpx.get(f"{running.url}/metrics").text
    assert re.search(r'^modelpad_tokens_total\{[^}]*kind="written"[^}]*\} 4', metrics, re.M)


def test_errors_other_protocols_and_streams(
    serve: Any,
    bundles: Path,
    tmp_path: Path,
    collector: tuple[str, Collector],
    monkeypatch: Any,
) -> None:
    endpoint, kept = collector
    pick = str(bundles / "pick")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "digits-of-ours")
    running = serve(pick, "--otlp-endpoint", f"{endpoint}/v1/traces", store=tmp_path / "store")
    assert httpx.post(f"{running.url}/v2/models/pick/infer", json={}).status_code == 400
    span = kept.wait_for("POST /v2/models/{model}/infer")
    assert read_attributes(span)["http.response.status_code"] == 400
    assert kept.resources[0]["service.name"] == "digits-of-ours"
    assert not span.parent_span_id
    assert not kept.children_of(span)
    lines = b'{"row": [0, 5, 0]}\n{"row": [5, 0, 0]}\n'
    headers = {"content-type": "application/x-ndjson"}
    answer = httpx.post(f"{running.url}/predict", content=lines, headers=headers)
    assert len(answer.text.splitlines()) == 2
    span = kept.wait_for("POST /predict")
    assert {each.name for each in kept.children_of(span)} == set(PHASES)
    unsampled = {"traceparent": f"00-{TRACE}-{PARENT}-00"}
    httpx.get(f"{running.url}/healthz", headers=unsampled)
    httpx.get(f"{running.url}/readyz")
    kept.wait_for("GET /readyz")
    assert "GET /healthz" not in [each.name for each in kept.spans]


def test_grpc_calls_are_spans_too(
    serve: Any,
    bundles: Path,
    tmp_path: Path,
    collector: tuple[str, Collector],
    free_port: int,
) -> None:
    tritonclient = pytest.importorskip("tritonclient.grpc")
    endpoint, kept = collector
    names = (str(bundles / "echo"), "--otlp-endpoint", endpoint, "--grpc-port", str(free_port))
    serve(*names, store=tmp_path / "store")
    import numpy as np

    given = tritonclient.InferInput("words", [1], "BYTES")
    given.set_data_from_numpy(np.array(["one"], dtype=object))
    with tritonclient.InferenceServerClient(f"127.0.0.1:{free_port}") as client:
        client.infer("echo", [given], headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
        client.start_stream(lambda result, error: None)
        client.async_stream_infer("echo", [given])
        client.stop_stream()
    span = kept.wait_for("inference.GRPCInferenceService/ModelInfer")
    told = read_attributes(span)
    assert (told["rpc.method"], told["modelpad.grpc_status"]) == ("ModelInfer", "OK")
    assert (told["modelpad.model"], span.trace_id.hex()) == ("echo", TRACE)
    assert [each.name for each in kept.children_of(span)] == PHASES
    kept.wait_for("inference.GRPCInferenceService/ModelStreamInfer")


@pytest.mark.slow
def test_a_collector_that_is_away_holds_nothing_up(
    serve: Any, bundles: Path, tmp_path: Path, monkeypatch: Any, free_port: int
) -> None:
    monkeypatch.setenv("MODELPAD_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port}")
    running = serve(str(bundles / "pick"), store=tmp_path / "store")
    for _ in range(3):
        answer = httpx.post(f"{running.url}/predict/pick", json={"row": [0, 5, 0]}, timeout=8)
        assert answer.json()["label"] == "b"
        time.sleep(0.5)  # the pace of the requests: exports fail meanwhile
    begin = time.monotonic()
    running.process.terminate()
    assert running.process.wait(timeout=15) == 0
    assert time.monotonic() - begin < 9


def test_an_endpoint_that_is_no_url(run_modelpad: Any) -> None:
    done = run_modelpad("serve", "digits", "--port", "0", "--otlp-endpoint", "collector:4318")
    assert done.returncode == 2
    assert "--otlp-endpoint" in done.stderr


def test_the_extra_is_named_where_it_is_missing(monkeypatch: Any) -> None:
    import sys

    from modelpad.errors import MissingExtra
    from modelpad.server.observability.traces import Traces

    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(MissingExtra) as caught:
        Traces("http://127.0.0.1:4318")
    assert "modelpad[otel]" in caught.value.hint
