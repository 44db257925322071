"""Paths and methods over real sockets: the page, files, documentation and metrics."""

from __future__ import annotations

import re
import sys
from typing import Any

import httpx
import psutil
import pytest

PNG = {"content-type": "image/png"}


def test_unknown_paths_and_methods(client: httpx.Client) -> None:
    assert client.get("/nothing").status_code == 404
    answer = client.put("/predict/digits")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, POST"


@pytest.mark.parametrize("path", ["/v1/models/digits:predict", "/v2/models/digits/infer"])
def test_a_wrong_method_gets_the_error_format_of_its_protocol(
    client: httpx.Client, path: str
) -> None:
    answer = client.get(path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert answer.json() == {"error": f"{path} does not accept GET. Use POST."}


@pytest.mark.parametrize("path", ["../__init__.py", "..%2f__init__.py", "__init__.py", "x.css"])
def test_static_files_stay_in_their_folder(client: httpx.Client, path: str) -> None:
    assert client.get(f"/static/{path}").status_code == 404


@pytest.mark.parametrize("path", ["manifest.json", "model.onnx", "samples/../manifest.json"])
def test_only_samples_and_reports_are_public(client: httpx.Client, path: str) -> None:
    assert client.get(f"/models/digits/files/{path}").status_code == 404


def test_the_page_and_its_resources(client: httpx.Client) -> None:
    html = {"accept": "text/html"}
    page = client.get("/", headers=html)
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src 'self';" in page.headers["content-security-policy"]
    again = client.get("/", headers=html | {"if-none-match": page.headers["etag"]})
    assert again.status_code == 304
    model = client.get("/models").json()["models"][0]
    assert model["inputs"][0]["widget"] == "drawing-pad"
    assert client.get(model["samples"][0]["inputs"]["image"]["url"]).content[:4] == b"\x89PNG"
    assert client.get("/models/digits/files/report/mistakes/01.png").status_code == 200
    assert client.head("/").content == b""
    joined = client.get("/static/page.js").text
    assert re.findall(r"^(?:import|export)\b.*", joined, re.MULTILINE) == joined.splitlines()[-1:]


def test_openapi_describes_the_served_models(client: httpx.Client) -> None:
    api = client.get("/openapi.json").json()
    assert {"/predict", "/predict/digits", "/readyz"} <= set(api["paths"])
    responses = api["paths"]["/predict/digits"]["post"]["responses"]
    assert {"200", "401", "404", "408", "413", "422", "429", "500", "503", "504"} == set(responses)
    assert client.get("/docs").status_code == 200


def test_metrics_count_predictions(client: httpx.Client, seven: bytes) -> None:
    def count() -> float:
        lines = client.get("/metrics").text.splitlines()
        name = 'modelpad_prediction_seconds_count{model="digits"} '
        return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))

    before = count()
    client.post("/predict/digits", content=seven, headers=PNG)
    assert count() == before + 1
    client.post("/predict/digits", content=b"", headers=PNG)
    assert 'status="422"' in client.get("/metrics").text


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, workers import for themselves")
def test_workers_share_the_memory_of_what_the_supervisor_has_imported(server: Any) -> None:
    supervisor = psutil.Process(server.process.pid)
    workers = supervisor.children()
    if not workers:
        pytest.skip("one CPU: one process")
    assert supervisor.num_threads() == 1  # a fork would break others
    for worker in workers:
        memory = worker.memory_full_info()
        assert memory.rss - memory.uss > 30e6
