"""Many models in one server: opened when they are first asked, closed for others."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import httpx

from modelpad.bundle import Bundle


def read_open(url: str) -> dict[str, int]:
    text = httpx.get(f"{url}/metrics").text
    found = re.findall(r'modelpad_graphs_open\{model="([^"]+)",version="1"\} (\d+)', text)
    return {name: int(count) for name, count in found}


def test_models_beyond_the_memory_limit_take_turns(
    serve: Any, bundles: Path, tmp_path: Path
) -> None:
    """A limit that nothing fits in: each is opened when it is asked, and closed for the next."""
    names = [str(bundles / "half_plus_two"), str(bundles / "pick"), "digits"]
    options = ("--memory-limit", "1", "--workers", "1")
    running = serve(*names, *options, store=tmp_path / "store")
    assert set(read_open(running.url).values()) == {0}
    for _ in range(3):
        half = httpx.post(f"{running.url}/predict/half_plus_two", json={"x": 3})
        assert "3.5" in half.text
        assert read_open(running.url) == {"half_plus_two": 1, "pick": 0, "digits": 0}
        pick = httpx.post(f"{running.url}/predict/pick", json={"row": [0, 0, 9]})
        assert pick.json()["label"] == "c"
        assert read_open(running.url) == {"half_plus_two": 0, "pick": 1, "digits": 0}
    told = httpx.get(f"{running.url}/v2/models/digits").json()
    assert told["inputs"][0]["name"] == "image"


def test_a_model_that_cannot_be_opened_fails_its_requests_alone(
    serve: Any, bundles: Path, digits: Bundle, tmp_path: Path
) -> None:
    copy = tmp_path / "digits"
    shutil.copytree(digits.folder, copy)
    names = [str(bundles / "half_plus_two"), str(copy)]
    running = serve(*names, "--memory-limit", "500", store=tmp_path / "store")
    (copy / "model.onnx").write_bytes(b"damaged")
    picture = (copy / "samples" / "3.png").read_bytes()
    sent = {"content-type": "image/png"}
    failed = httpx.post(f"{running.url}/predict/digits", content=picture, headers=sent)
    assert failed.status_code == 500
    assert "model.onnx is not the one that was written" in failed.text
    half = httpx.post(f"{running.url}/predict/half_plus_two", json={"x": 3})
    assert "3.5" in half.text
