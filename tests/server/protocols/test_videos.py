"""Videos over HTTP: sent in parts, painted in a job, with a real server and real processes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelpad.cli.main import main
from tests.conftest import Server, start_server, stop_server
from tests.video_parts import read_sound, read_times, write_clip, write_painter

KEYS = "ann=annsecret\nbob=bobsecret\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves `negative` from the store, a copy that the store does not have, and the digits."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "keys").write_text(KEYS)
    painter = write_painter(folder / "negative").folder
    assert main(["models", "push", str(painter), "--store", str(folder / "store")]) == 0
    models = ("negative", f"copy={painter}", "digits")
    options = ("--studio", "--jobs", str(folder / "jobs"), "--workers", "1")
    running = start_server(
        *models, *options, "--api-keys", str(folder / "keys"), store=folder / "store"
    )
    yield running
    stop_server(running)


@pytest.fixture
def ann(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, headers={"x-api-key": "annsecret"}) as client:
        yield client


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", 30, rotation=90)


def send(client: httpx.Client, body: bytes, part: int = 1 << 20) -> str:
    """The id of a video that is sent in parts."""
    first = client.post("/videos", content=body[:part])
    assert first.status_code == 201, first.text
    location = first.headers["location"]
    for offset in range(part, len(body), part):
        more = client.post(
            location, params={"offset": offset}, content=body[offset : offset + part]
        )
        assert more.status_code == 200, more.text
    assert client.get(location).json()["bytes"] == len(body)
    return str(first.json()["id"])


def finish(client: httpx.Client, location: str) -> dict[str, Any]:
    for _ in range(2400):
        job: dict[str, Any] = client.get(location).json()
        if job["state"] not in ("queued", "running"):
            return job
        time.sleep(0.05)
    raise AssertionError("it did not end")


def test_a_video_is_painted(ann: httpx.Client, server: Server, clip: Path, tmp_path: Path) -> None:
    video = send(ann, clip.read_bytes(), part=5000)
    params = {"video": video, "model": "negative", "inputs": {"strength": 0.5}}
    submitted = ann.post("/jobs/video", json=params)
    assert submitted.status_code == 202, submitted.text
    location = submitted.headers["location"]
    assert ann.get(f"{location}/result").status_code == 409
    job = finish(ann, location)
    assert (job["state"], job["error"]) == ("done", None)
    assert job["params"]["model"] == "negative@1"
    result = ann.get(f"{location}/result")
    assert (result.status_code, result.headers["content-type"]) == (200, "video/mp4")
    assert len(result.content) == job["result"]["bytes"]
    painted = tmp_path / "painted.mp4"
    painted.write_bytes(result.content)
    assert read_times(painted) == read_times(clip)
    assert read_sound(painted) == read_sound(clip)
    assert ann.get(job["preview"]).content[:3] == b"\xff\xd8\xff"

    bob = {"x-api-key": "bobsecret"}
    for path in (f"{location}/result", f"/videos/{video}"):
        assert httpx.get(f"{server.url}{path}", headers=bob).status_code == 404
    stolen = httpx.post(f"{server.url}/jobs/video", json=params, headers=bob)
    assert stolen.status_code == 404
    assert ann.delete(f"/videos/{video}").json() == {"deleted": video}
    assert ann.get(f"/videos/{video}").status_code == 404


def test_what_cannot_be_painted(ann: httpx.Client, clip: Path) -> None:
    video = send(ann, clip.read_bytes())

    def submit(**params: Any) -> tuple[int, dict[str, Any]]:
        response = ann.post("/jobs/video", json={"video": video, "model": "negative", **params})
        return response.status_code, response.json().get("error", {})

    assert submit(model="nothing")[0] == 404
    assert submit(video="0" * 24)[0] == 404
    assert submit(video=7)[0] == 422
    assert submit(inputs=[])[0] == 422
    assert submit(more=1)[0] == 422
    status, error = submit(inputs={"strength": 7})
    assert (status, error["field"]) == (422, "strength")
    status, error = submit(model="digits")
    assert (status, error["field"]) == (422, "video")
    status, error = submit(model="copy")
    assert status == 422
    assert "not in the server's store" in error["message"]

    assert ann.post("/videos", content=b"text").status_code == 422
    assert ann.post(f"/videos/{video}", content=b"x").status_code == 422
    wrong = ann.post(f"/videos/{video}", params={"offset": 1}, content=b"x")
    assert (wrong.status_code, wrong.json()["error"]["field"]) == (422, "offset")
    cut = send(ann, clip.read_bytes()[:2000])
    failed = ann.post("/jobs/video", json={"video": cut, "model": "negative"})
    job = finish(ann, failed.headers["location"])
    assert job["state"] == "failed"
    assert job["error"]["message"] == "The video is not a video, or is damaged."
    result = ann.get(f"{failed.headers['location']}/result")
    assert result.status_code == 404
