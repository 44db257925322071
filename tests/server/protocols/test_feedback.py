"""Feedback over real sockets: stored, refused, undone."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelpad.feedback import FeedbackStore, locate_feedback
from tests.conftest import start_server, stop_server
from tests.table_bundles import write_tables


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("feedback")


@pytest.fixture(scope="module")
def http(
    folder: Path, bundles: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """Two workers that collect feedback, a megabyte of it at most."""
    tables = [str(path) for path in write_tables(tmp_path_factory.mktemp("tables"))]
    names = ("digits", str(bundles / "half_plus_two"), *tables)
    options = ("--feedback", str(folder), "--feedback-max-mb", "1", "--workers", "2")
    store = tmp_path_factory.mktemp("store")
    server = start_server(*names, *options, store=store)
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client
    stop_server(server)


@pytest.fixture
def kept(folder: Path) -> FeedbackStore:
    store = FeedbackStore(locate_feedback(str(folder)))
    for entry in store.entries():
        store.delete(entry.id)
    return store


def as_url(picture: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(picture).decode()


def send(http: httpx.Client, model: str, **record: Any) -> httpx.Response:
    return http.post(f"/feedback/{model}", json=record)


def test_a_correction_is_stored_as_it_was_sent(
    http: httpx.Client, kept: FeedbackStore, seven: bytes
) -> None:
    inputs = {"image": as_url(seven)}
    answer = send(http, "digits", inputs=inputs, prediction="1", correct="7", note="yes, use it")
    assert answer.status_code == 201
    entry, item = kept.find(answer.json()["id"])
    assert (entry.model, entry.version, entry.predicted, entry.label) == ("digits", 1, "1", "7")
    assert entry.note == "yes, use it"
    assert (item.media_type, item.body) == ("image/png", seven)
    form = {"prediction": "7", "correct": "true", "version": "3"}
    again = http.post("/feedback/digits", data=form, files={"image": ("7.png", seven)})
    assert again.status_code == 201
    assert again.json()["id"] == entry.id
    assert again.json()["replaced"]
    (entry,) = kept.entries()
    assert entry.is_right
    assert entry.version == 3
    metrics = http.get("/metrics").text
    assert 'modelpad_feedback_total{model="digits",result="wrong",version="1"} 1' in metrics
    assert http.get("/models").json()["feedback"] is True


def test_only_its_sender_can_undo_it(http: httpx.Client, kept: FeedbackStore, seven: bytes) -> None:
    record = {"inputs": as_url(seven), "prediction": "1", "correct": "7"}
    stored = send(http, "digits", **record).json()
    path = f"/feedback/digits/{stored['id']}"
    assert http.delete(path).status_code == 404
    assert http.delete(path, headers={"x-modelpad-token": "guess"}).status_code == 404
    assert len(kept.entries()) == 1
    done = http.delete(path, headers={"x-modelpad-token": stored["token"]})
    assert done.json() == {"deleted": stored["id"]}
    assert kept.entries() == []


def test_rows_of_a_table(http: httpx.Client, kept: FeedbackStore) -> None:
    row = {"income (k)": 30, "age": None, "city": "Bern"}
    record = {"inputs": row, "prediction": "reject", "correct": "accept"}
    assert send(http, "loan", **record).status_code == 201
    (entry,) = kept.entries("loan")
    assert kept.find(entry.id)[1].body == b'{"age":null,"city":"Bern","income (k)":30.0}'


SEVEN: Any = object()


@pytest.mark.parametrize(
    ("model", "record", "status", "words"),
    [
        ("digits", {"inputs": SEVEN, "prediction": "1", "correct": "ten"}, 422, "0, 1, 2"),
        ("digits", {"inputs": SEVEN, "prediction": "ten", "correct": True}, 422, "'prediction'"),
        ("digits", {"inputs": SEVEN, "prediction": "1"}, 422, "'correct'"),
        ("digits", {"inputs": SEVEN, "prediction": "1", "correct": False}, 422, "'correct'"),
        ("digits", {"prediction": "1", "correct": True}, 422, "inputs"),
        ("digits", {"inputs": SEVEN, "prediction": "1", "correct": True, "x": 1}, 422, "x"),
        (
            "digits",
            {"inputs": SEVEN, "prediction": "1", "correct": True, "version": True},
            422,
            "'version'",
        ),
        (
            "digits",
            {"inputs": SEVEN, "prediction": "1", "correct": True, "note": "n" * 501},
            422,
            "500",
        ),
        ("digits", {"inputs": "bm8=", "prediction": "1", "correct": True}, 422, "picture"),
        ("digits", {"inputs": [[0] * 28] * 28, "prediction": "1", "correct": True}, 422, "data:"),
        ("half_plus_two", {"inputs": 1, "prediction": "1", "correct": True}, 422, "one label"),
        ("loan", {"inputs": {"city": "Bern"}, "prediction": "accept", "correct": True}, 422, "age"),
        ("none", {"inputs": 1, "prediction": "1", "correct": True}, 404, "none"),
    ],
)
def test_what_cannot_be_feedback_is_refused(
    http: httpx.Client,
    kept: FeedbackStore,
    seven: bytes,
    model: str,
    record: dict[str, Any],
    status: int,
    words: str,
) -> None:
    sent = {k: as_url(seven) if value is SEVEN else value for k, value in record.items()}
    answer = send(http, model, **sent)
    assert answer.status_code == status
    assert words in answer.text
    assert kept.entries() == []


def test_other_sites_may_not_send_any(http: httpx.Client, seven: bytes) -> None:
    record = {"inputs": as_url(seven), "prediction": "1", "correct": True}
    headers = {"origin": "https://evil.example"}
    assert http.post("/feedback/digits", json=record, headers=headers).status_code == 403
    assert http.delete("/feedback/digits/0", headers=headers).status_code == 403


def test_a_full_store_says_so(http: httpx.Client, kept: FeedbackStore, seven: bytes) -> None:
    padded = seven + bytes(600_000)  # after its end, a picture may have anything
    files = {"image": ("7.png", padded)}
    form = {"prediction": "7", "correct": "true"}
    assert http.post("/feedback/digits", data=form, files=files).status_code == 201
    files = {"image": ("7.png", padded + b"0")}
    answer = http.post("/feedback/digits", data=form, files=files)
    assert answer.status_code == 507
    assert "--feedback-max-mb" in answer.json()["error"]["hint"]
    assert len(kept.entries()) == 1


def test_a_damaged_database_stops_nothing_else(
    http: httpx.Client, kept: FeedbackStore, seven: bytes
) -> None:
    with sqlite3.connect(kept.path, isolation_level=None) as other:
        other.execute("PRAGMA user_version = 99")
        record = {"inputs": as_url(seven), "prediction": "1", "correct": True}
        assert send(http, "digits", **record).status_code == 500
        other.execute("PRAGMA user_version = 1")
    other.close()
    assert send(http, "digits", **record).status_code == 201


def test_without_the_option_there_is_no_feedback(client: httpx.Client) -> None:
    answer = client.post("/feedback/digits", json={})
    assert answer.status_code == 404
    assert "--feedback" in answer.json()["error"]["hint"]
    assert client.get("/models").json()["feedback"] is False
