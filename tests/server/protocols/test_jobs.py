"""Jobs and collections over HTTP, with a real server and real processes for the jobs."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.conftest import Server, start_server, stop_server

TINY = ("-m", "tests.jobs.tiny")
KEYS = "ann=annsecret\nbob=bobsecret\nroot=rootsecret\ncarl=carlsecret\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "keys").write_text(KEYS)
    options = ("--studio", "--jobs", str(folder / "jobs"), "--workers", "1")
    access = ("--api-keys", str(folder / "keys"), "--admin", "root")
    running = start_server("digits", *options, *access, store=folder / "store", program=TINY)
    yield running
    stop_server(running)


@pytest.fixture
def connect(server: Server) -> Iterator[Callable[[str], httpx.Client]]:
    clients = []

    def make(owner: str) -> httpx.Client:
        headers = {"x-api-key": f"{owner}secret"}
        clients.append(httpx.Client(base_url=server.url, headers=headers, timeout=60))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def ann(connect: Callable[[str], httpx.Client]) -> httpx.Client:
    return connect("ann")


def submit(client: httpx.Client, kind: str = "tiny", **params: Any) -> str:
    response = client.post(f"/jobs/{kind}", json=params)
    assert response.status_code == 202, response.text
    return str(response.headers["location"])


def finish(client: httpx.Client, location: str) -> dict[str, Any]:
    for _ in range(600):
        job: dict[str, Any] = client.get(location).json()
        if job["state"] not in ("queued", "running"):
            return job
        time.sleep(0.1)
    raise AssertionError("it did not end")


def read_events(client: httpx.Client, location: str, **headers: str) -> list[tuple[str, Any]]:
    events = []
    with client.stream("GET", f"{location}/events", headers=headers) as response:
        assert response.headers["content-type"] == "text/event-stream"
        for block in response.read().decode().split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] != ":")
            if lines:
                events.append((lines["event"], json.loads(lines["data"])))
    return events


def paint(shade: int) -> bytes:
    body = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), shade, np.uint8)).save(body, "PNG")
    return body.getvalue()


def add(client: httpx.Client, place: str, name: str, body: bytes) -> httpx.Response:
    url = f"{place}/pictures"
    return client.post(
        url, params={"class": name}, content=body, headers={"content-type": "image/png"}
    )


def test_a_job_is_followed_to_its_end(ann: httpx.Client) -> None:
    location = submit(ann, echo="hello", preview=True, seconds=0.5)
    events = read_events(ann, location)
    states = [data["state"] for event, data in events if event == "job"]
    assert (states[0], states[-1]) in (("queued", "done"), ("running", "done"))
    fractions = [data["fraction"] for event, data in events if event == "job"]
    assert fractions == sorted(fractions)
    assert [data["text"] for event, data in events if event == "log"] == ["attempt 1"]
    job = finish(ann, location)
    assert job["result"]["echo"] == "hello"
    assert job["preview"] == f"{location}/preview?n=1"
    picture = ann.get(job["preview"])
    assert (picture.headers["content-type"], picture.content[:4]) == ("image/png", b"\x89PNG")
    again = read_events(ann, location, **{"last-event-id": "1"})
    assert [event for event, _ in again] == ["job"]


def test_a_key_makes_one_job(ann: httpx.Client) -> None:
    first = ann.post("/jobs/tiny", json={"echo": 1}, headers={"idempotency-key": "k"})
    again = ann.post("/jobs/tiny", json={"echo": 1}, headers={"idempotency-key": "k"})
    other = ann.post("/jobs/tiny", json={"echo": 2}, headers={"idempotency-key": "k"})
    assert (first.status_code, again.status_code, other.status_code) == (202, 200, 409)
    assert first.headers["location"] == again.headers["location"]


def test_jobs_are_cancelled(ann: httpx.Client) -> None:
    location = submit(ann, seconds=20)
    assert ann.delete(location).json()["state"] == "cancelled"
    assert ann.delete(location).json()["state"] == "cancelled"
    done = submit(ann)
    assert finish(ann, done)["state"] == "done"
    assert ann.delete(done).status_code == 409


def test_jobs_belong_to_their_owner(connect: Callable[[str], httpx.Client]) -> None:
    ann, bob, root = connect("ann"), connect("bob"), connect("root")
    location = submit(ann, echo="mine")
    for path in (location, f"{location}/events", f"{location}/preview"):
        assert bob.get(path).status_code == 404
    assert bob.delete(location).status_code == 404
    assert bob.get("/jobs").json() == {"jobs": [], "count": 0}
    assert root.get(location).json()["params"] == {"echo": "mine"}
    assert "ann" in {job["owner"] for job in root.get("/jobs").json()["jobs"]}
    assert httpx.get(f"{ann.base_url}/jobs").status_code == 401


def test_waiting_jobs_are_limited(connect: Callable[[str], httpx.Client]) -> None:
    carl = connect("carl")
    locations = [submit(carl, seconds=20) for _ in range(10)]
    full = carl.post("/jobs/tiny", json={})
    assert (full.status_code, full.headers["retry-after"]) == (429, "30")
    for location in locations:
        carl.delete(location)


@pytest.mark.parametrize(
    ("kind", "body", "status", "words"),
    [
        ("nothing", "{}", 404, "There is no kind of job 'nothing'."),
        ("tiny", "[1]", 422, "A job's parameters are a JSON object."),
        ("tiny", "{", 422, "The body is not JSON"),
        ("tiny", '{"seconds": "long"}', 422, "seconds is not a number."),
        ("train", "{}", 422, "'params' is not valid"),
        ("train", '{"collection": "..", "name": "x"}', 404, "There is no collection '..'."),
    ],
)
def test_bad_requests_are_rejected(
    ann: httpx.Client, kind: str, body: str, status: int, words: str
) -> None:
    response = ann.post(f"/jobs/{kind}", content=body, headers={"content-type": "application/json"})
    assert response.status_code == status
    assert words in response.json()["error"]["message"]


def test_failures_have_a_message(ann: httpx.Client) -> None:
    job = finish(ann, submit(ann, fail=True))
    assert (job["state"], job["error"]["message"]) == ("failed", "It was told to fail.")


def test_pictures_are_collected_in_classes(connect: Callable[[str], httpx.Client]) -> None:
    ann, bob = connect("ann"), connect("bob")
    place = ann.post("/collections").headers["location"]
    items = [add(ann, place, "dark", paint(shade)).json()["picture"] for shade in range(3)]
    assert add(ann, place, "dark", paint(0)).json()["picture"] == items[0]
    assert ann.get(f"{place}/pictures/{items[1]}").content == paint(1)
    assert ann.get(place).json()["classes"] == [{"name": "dark", "pictures": items}]
    renamed = ann.post(f"{place}/rename", json={"class": "dark", "to": "black"}).json()
    assert renamed["classes"] == [{"name": "black", "pictures": items}]
    assert ann.delete(f"{place}/pictures/{items[0]}").json() == {"deleted": items[0]}
    assert ann.get(f"{place}/pictures/{items[0]}").status_code == 404
    assert [each["id"] for each in ann.get("/collections").json()["collections"]] == [
        place.rpartition("/")[2]
    ]
    for method, path in (("GET", place), ("DELETE", place), ("POST", f"{place}/rename")):
        assert bob.request(method, path, json={"class": "a", "to": "b"}).status_code == 404
    assert bob.post("/jobs/train", json={"collection": place[13:], "name": "x"}).status_code == 404
    ann.delete(place)
    assert ann.get(place).status_code == 404


def test_bad_pictures_and_classes_are_rejected(ann: httpx.Client) -> None:
    place = ann.post("/collections").headers["location"]
    assert "not a PNG" in add(ann, place, "a", b"GIF89a").json()["error"]["message"]
    assert add(ann, place, "a", b"\x89PNG but no picture").status_code == 422
    for name in ("", "a/b", "..", "x" * 41, "con", "a%2f"):
        response = add(ann, place, name, paint(9))
        assert response.status_code == 422, name
        assert "A class cannot be called" in response.json()["error"]["message"]
    add(ann, place, "a", paint(9))
    assert "in the class 'a' already" in add(ann, place, "b", paint(9)).json()["error"]["message"]
    assert ann.get(f"{place}/pictures/..%2Fowner").status_code == 404
    ann.delete(place)


def test_a_training_needs_enough_and_a_name_of_its_own(ann: httpx.Client) -> None:
    place = ann.post("/collections").headers["location"]
    id = place.rpartition("/")[2]

    def train(name: str = "shades", **options: Any) -> str:
        params = {"collection": id, "name": name, "options": options}
        response = ann.post("/jobs/train", json=params)
        assert response.status_code == 422, response.text
        return str(response.json()["error"]["message"])

    assert train() == "A model needs at least 2 classes with pictures; there are none."
    for shade in range(5):
        add(ann, place, "dark", paint(shade))
    assert train() == "A model needs at least 2 classes with pictures; there is 1."
    for shade in range(3):
        add(ann, place, "light", paint(200 + shade))
    assert train() == "Each class needs at least 5 pictures: 'light' has 3."
    for shade in range(3, 5):
        add(ann, place, "light", paint(200 + shade))
    assert train("digits") == "There is a model called 'digits' already."
    assert "'name' is not valid" in train("../x")
    assert "'options' is not valid" in train(metric="evil.py:run")
    assert "'arch' is not valid" in train(arch="huge")
    assert "'size' is not valid" in train(size=4096)
    ann.delete(place)


def test_servers_without_studio_have_none_of_it(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    plain = serve("digits", "--workers", "1", store=tmp_path / "store")
    for path in ("/jobs", "/collections"):
        response = httpx.get(f"{plain.url}{path}")
        assert response.status_code == 404
        assert "--studio" in response.json()["error"]["hint"]
    assert httpx.get(f"{plain.url}/models").json()["studio"] is False
