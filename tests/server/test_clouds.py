"""The paths and variables that clouds ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx


def test_vertex_and_sagemaker(serve: Any, bundles: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("AIP_PREDICT_ROUTE", "/vertex/predict")
    monkeypatch.setenv("AIP_HEALTH_ROUTE", "/vertex/health")
    running = serve(str(bundles / "half_plus_two"), store=tmp_path / "store")
    answer = httpx.post(f"{running.url}/vertex/predict", json={"instances": [1.0, 2.0]})
    assert answer.json() == {"predictions": [2.5, 3.0]}
    assert httpx.get(f"{running.url}/vertex/health").status_code == 200
    assert httpx.get(f"{running.url}/ping").status_code == 200
    answer = httpx.post(f"{running.url}/invocations", json={"x": 4})
    assert answer.json()["outputs"] == {"y": 4.0}


def test_kserve_sees_life(protocols: str) -> None:
    url = f"http://{protocols}/"
    assert httpx.get(url, headers={"accept": "application/json"}).json() == {"status": "alive"}
    assert httpx.get(url).json() == {"status": "alive"}
    for headers in ({"accept": "text/html,*/*;q=0.8"}, {"user-agent": "curl/8.5.0"}):
        assert "<html" in httpx.get(url, headers=headers).text
    model = httpx.get(f"http://{protocols}/v1/models/mix").json()
    assert (model["name"], model["ready"]) == ("mix", True)


def test_only_named_pages_may_show_the_page_in_a_frame(
    serve: Any, protocols: str, tmp_path: Path
) -> None:
    policy = "content-security-policy"
    closed = httpx.get(f"http://{protocols}/", headers={"accept": "text/html,*/*;q=0.8"}).headers
    assert "frame-ancestors 'none'" in closed[policy]
    assert closed["x-frame-options"] == "DENY"
    running = serve("digits", "--frame-ancestor", "https://huggingface.co", store=tmp_path)
    opened = httpx.get(running.url, headers={"accept": "text/html,*/*;q=0.8"}).headers
    assert "frame-ancestors 'self' https://huggingface.co;" in opened[policy]
    assert "x-frame-options" not in opened
    assert opened[policy].count(";") == closed[policy].count(";")


def test_pages_of_other_origins_ask_only_where_they_may(
    serve: Any, bundles: Path, protocols: str, tmp_path: Path
) -> None:
    mine, other = "https://mine.example", "https://other.example"
    allowed = "access-control-allow-origin"
    running = serve(str(bundles / "pick"), "--cors-origin", mine, store=tmp_path / "store")
    url = f"{running.url}/predict/pick"
    preflight = httpx.options(url, headers={"origin": mine})
    assert (preflight.status_code, preflight.headers[allowed]) == (204, mine)
    assert "x-modelpad-sticky" in preflight.headers["access-control-allow-headers"]
    answer = httpx.post(url, json={"row": [0, 5, 0]}, headers={"origin": mine})
    assert (answer.json()["label"], answer.headers[allowed]) == ("b", mine)
    assert (
        allowed not in httpx.post(url, json={"row": [0, 5, 0]}, headers={"origin": other}).headers
    )
    assert httpx.options(url, headers={"origin": other}).status_code == 405
    assert allowed not in httpx.get(f"http://{protocols}/models", headers={"origin": mine}).headers
