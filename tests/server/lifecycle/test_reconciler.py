"""Versions come, share the traffic and leave while requests are answered, and none fails."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
import socket
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import httpx
import numpy as np
import pytest

from modelpad.bundle import Bundle, write_bundle
from modelpad.client.load import run_load, write_request
from modelpad.errors import InvalidInput
from modelpad.server import LoadOptions, ModelTable, ServedModel
from modelpad.server.host import ModelHost
from modelpad.server.lifecycle.catalogue import Catalogue
from modelpad.server.lifecycle.overrides import Overrides
from modelpad.server.lifecycle.reconciler import Reconciler
from modelpad.store import LocalStore, resolve_bundle


@pytest.fixture
def store(tmp_path: Path, digits: Bundle) -> LocalStore:
    made = LocalStore(tmp_path / "store")
    made.push(digits)
    return made


@pytest.fixture
def url(serve: Any, store: LocalStore) -> str:
    running = serve("digits", "--poll-interval", "0.05", store=store.root)
    return str(running.url)


def ask(url: str, digits: Bundle, number: int = 7, **headers: str) -> httpx.Response:
    picture = digits.path(f"samples/{number}.png").read_bytes()
    sent = {"content-type": "image/png", **headers}
    return httpx.post(f"{url}/predict/digits", content=picture, headers=sent)


def version_of(url: str, digits: Bundle, **headers: str) -> int:
    return int(ask(url, digits, 7, **headers).json()["version"])


def test_a_new_version_comes_in_and_the_old_one_leaves(
    url: str, store: LocalStore, digits: Bundle, wait_for: Any
) -> None:
    assert version_of(url, digits) == 1
    store.push(digits)
    wait_for(lambda: version_of(url, digits) == 2)
    status = httpx.get(f"{url}/v1/models/digits").json()["model_version_status"]
    assert [each["version"] for each in status] == ["2"]
    store.rollback("digits")
    wait_for(lambda: version_of(url, digits) == 1)
    store.promote("digits", 2)
    wait_for(lambda: version_of(url, digits) == 2)


def read_until(stream: BinaryIO, end: bytes) -> bytes:
    told = b""
    while end not in told:
        line = stream.readline()
        assert line, told
        told += line
    return told


def test_what_is_on_its_way_is_answered_by_the_version_that_it_began_with(
    url: str, store: LocalStore, digits: Bundle, wait_for: Any
) -> None:
    """The rest of a picture, and another line of a stream, come after version 2 took over."""
    host, _, port = url.removeprefix("http://").partition(":")
    picture = digits.path("samples/7.png").read_bytes()
    head = b"POST /predict/digits HTTP/1.1\r\nhost: localhost\r\ncontent-type: %s\r\n"
    line = json.dumps({"image": base64.b64encode(picture).decode()}).encode() + b"\n"
    part = b"%x\r\n%s\r\n" % (len(line), line)
    with socket.create_connection((host, int(port))) as one, one.makefile("rb") as whole:
        one.sendall(head % b"image/png" + b"expect: 100-continue\r\n")
        one.sendall(b"content-length: %d\r\n\r\n" % len(picture))
        assert read_until(whole, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        with socket.create_connection((host, int(port))) as two, two.makefile("rb") as stream:
            two.sendall(head % b"application/x-ndjson" + b"transfer-encoding: chunked\r\n")
            two.sendall(b"connection: close\r\n\r\n" + part)
            told = read_until(stream, b"\r\n\r\n")  # both have begun
            store.push(digits)
            wait_for(lambda: version_of(url, digits) == 2)
            time.sleep(0.2)  # short: long enough for version 1 to be unloaded, if it were idle
            two.sendall(part + b"0\r\n\r\n")
            told += stream.read()
        one.sendall(picture)
        assert b"200 OK" in whole.readline()
        while whole.readline().strip():
            pass
        assert b'"version":1,"label":"7"' in whole.read(60)
    assert told.count(b'"label":"7"') == 2


def test_a_new_name_is_served_too(
    serve: Any, store: LocalStore, digits: Bundle, wait_for: Any
) -> None:
    running = serve("--poll-interval", "0.05", store=store.root)
    store.push(digits, "twins")
    wait_for(lambda: len(httpx.get(f"{running.url}/models").json()["models"]) == 2)


def test_a_name_that_cannot_be_read_holds_up_no_other(
    serve: Any, store: LocalStore, digits: Bundle, wait_for: Any
) -> None:
    store.push(digits, "twins")
    running = serve("--poll-interval", "0.05", store=store.root)
    (store.root / "twins" / "aliases.json").write_text("{")
    store.push(digits)
    wait_for(lambda: version_of(str(running.url), digits) == 2)


def test_a_version_that_fails_leaves_no_thread_behind(digits: Bundle, tmp_path: Path) -> None:
    first = replace(digits.manifest.samples[0], inputs={"image": {"value": "no picture"}})
    files = {name: digits.path(name) for name in digits.manifest.files}
    bad = write_bundle(tmp_path / "bad", replace(digits.manifest, samples=(first,)), files)
    before = threading.active_count()
    with pytest.raises(InvalidInput):
        ServedModel.load("bad", 1, bad)
    assert threading.active_count() == before


@pytest.mark.slow
def test_traffic_is_shared_and_sticks(
    url: str, store: LocalStore, digits: Bundle, wait_for: Any
) -> None:
    store.promote("digits", 1)
    store.push(digits)
    store.set_traffic("digits", {1: 50, 2: 50})
    wait_for(lambda: {version_of(url, digits) for _ in range(12)} == {1, 2})
    for person in ("ann", "bob", "eve"):
        stuck = {version_of(url, digits, **{"x-modelpad-sticky": person}) for _ in range(10)}
        assert len(stuck) == 1
    path = f"{url}/v1/models/digits/versions/2"
    assert httpx.get(path).json()["model_version_status"][0]["version"] == "2"
    store.set_traffic("digits", {})
    wait_for(lambda: {version_of(url, digits) for _ in range(20)} == {1})


def test_a_broken_version_stays_out(
    url: str, store: LocalStore, digits: Bundle, run_modelpad: Any, tmp_path: Path, wait_for: Any
) -> None:
    damaged = LocalStore(tmp_path / "elsewhere").push(digits).folder
    (damaged / "model.onnx").write_bytes(b"damaged")
    damaged.rename(store.root / "digits" / "2")
    wait_for(lambda: store.read_failure("digits", 2))
    assert version_of(url, digits) == 1
    # Every worker that tried counts.
    assert re.search(
        r'modelpad_version_failures_total\{model="digits",version="2"\} [12]\n',
        httpx.get(f"{url}/metrics").text,
    )
    shown = run_modelpad("models", "show", "digits@2", "--store", str(store.root))
    assert "ChecksumMismatch" in shown.stdout + shown.stderr or shown.returncode == 1
    store.push(digits)
    wait_for(lambda: version_of(url, digits) == 3)


def test_a_store_that_takes_no_notes_holds_up_no_version(
    serve: Any, store: LocalStore, digits: Bundle, tmp_path: Path, wait_for: Any, capfd: Any
) -> None:
    """As one that is mounted to be read alone: a folder stands where the note would be."""
    (store.root / "digits" / ".failed-2").mkdir()
    running = serve("digits", "--poll-interval", "0.05", "--keep-versions", "2", store=store.root)
    damaged = LocalStore(tmp_path / "elsewhere").push(digits).folder
    (damaged / "model.onnx").write_bytes(b"damaged")
    damaged.rename(tmp_path / "2")
    sound = LocalStore(tmp_path / "elsewhere").push(digits).folder
    sound.rename(tmp_path / "3")
    for version in ("2", "3"):  # at once, as far as the server can see
        (tmp_path / version).rename(store.root / "digits" / version)
    wait_for(lambda: version_of(str(running.url), digits) == 3)
    told = capfd.readouterr().err
    assert "cannot record the failure" in told
    assert "Traceback" not in told


def test_a_version_that_is_not_open_in_time_stays_out(
    store: LocalStore,
    digits: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    wait_for: Any,
) -> None:
    """Its graph may hang: nobody waits for it for ever, nor tries it again."""

    async def follow() -> None:
        found = resolve_bundle("digits", store.root)
        host = ModelHost(ModelTable([ServedModel.load("digits", 1, found.bundle)]))
        catalogue = Catalogue(store.root, ["digits"], [found], Overrides(), LoadOptions())
        host.reconciler = Reconciler(host, catalogue, 0)
        store.push(digits)
        with monkeypatch.context() as hurried:
            hurried.setattr("modelpad.server.lifecycle.reconciler.OPEN_S", 0.0)
            await host.reconciler.reconcile()
        assert "more than 0 s" in (store.read_failure("digits", 2) or "")
        await host.reconciler.reconcile()
        assert host.require_models().find("digits").version == 1
        store.push(digits)
        await host.reconciler.reconcile()
        assert host.require_models().find("digits").version == 3
        async with asyncio.timeout(20):
            while "version 1 was unloaded" not in caplog.text:
                await asyncio.sleep(0.02)
        await host.stop()

    before = set(threading.enumerate())
    asyncio.run(follow())
    wait_for(lambda: not any(t.name.startswith("modelpad") for t in left(before)))


def left(before: set[threading.Thread]) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread not in before]


def test_a_version_that_answers_its_samples_wrong_stays_out(
    url: str, store: LocalStore, digits: Bundle, tmp_path: Path, wait_for: Any
) -> None:
    wrong = tuple(replace(sample, expected="0") for sample in digits.manifest.samples)
    files = {name: digits.path(name) for name in digits.manifest.files}
    liar = write_bundle(tmp_path / "liar", replace(digits.manifest, samples=wrong), files)
    store.push(liar)
    wait_for(lambda: store.read_failure("digits", 2))
    assert "9 of 10 samples" in (store.read_failure("digits", 2) or "")
    assert version_of(url, digits) == 1


def test_a_version_that_was_kept_out_stays_out_of_the_next_server_until_it_is_mended(
    serve: Any, store: LocalStore, digits: Bundle, tmp_path: Path, wait_for: Any
) -> None:
    first = serve("digits", "--poll-interval", "0.05", store=store.root)
    damaged = LocalStore(tmp_path / "elsewhere").push(digits).folder
    (damaged / "model.onnx").write_bytes(b"damaged")
    folder = damaged.rename(store.root / "digits" / "2")
    wait_for(lambda: store.read_failure("digits", 2))
    first.process.terminate()
    assert first.process.wait(15) == 0
    again = serve("digits", "--poll-interval", "0.05", store=store.root)
    assert version_of(again.url, digits) == 1
    again.process.terminate()
    assert again.process.wait(15) == 0
    (folder / "model.onnx").write_bytes(digits.path("model.onnx").read_bytes())
    mended = serve("digits", "--poll-interval", "0.05", store=store.root)
    wait_for(lambda: version_of(mended.url, digits) == 2)
    wait_for(lambda: store.read_failure("digits", 2) is None)


def test_traffic_sticks_over_grpc_too(
    serve: Any, store: LocalStore, digits: Bundle, free_port: int, wait_for: Any
) -> None:
    tritonclient = pytest.importorskip("tritonclient.grpc")
    store.promote("digits", 1)
    store.push(digits)
    store.set_traffic("digits", {1: 50, 2: 50})
    serve("digits", "--poll-interval", "0.05", "--grpc-port", str(free_port), store=store.root)
    given = tritonclient.InferInput("image", [1], "BYTES")
    given.set_data_from_numpy(np.array([digits.path("samples/7.png").read_bytes()], dtype=object))
    with tritonclient.InferenceServerClient(f"127.0.0.1:{free_port}") as client:

        def ask_version(**headers: str) -> str:
            answer = client.infer("digits", [given], headers=headers)
            return str(answer.get_response().model_version)

        wait_for(lambda: {ask_version() for _ in range(12)} == {"1", "2"})
        for person in ("ann", "bob", "eve"):
            stuck = {ask_version(**{"x-modelpad-sticky": person}) for _ in range(10)}
            assert len(stuck) == 1


def test_a_store_that_goes_away_takes_nothing_with_it(
    url: str, store: LocalStore, digits: Bundle, tmp_path: Path, wait_for: Any
) -> None:
    away = tmp_path / "away"
    store.root.rename(away)
    time.sleep(0.3)  # some polls, which leave no trace: nothing may happen
    assert version_of(url, digits) == 1
    away.rename(store.root)
    store.push(digits)
    wait_for(lambda: version_of(url, digits) == 2)


def test_bundles_damaged_while_they_are_served_go_on(
    url: str, store: LocalStore, digits: Bundle
) -> None:
    shutil.rmtree(store.root / "digits" / "1")
    assert ask(url, digits, 3).json()["label"] == "3"


def test_a_model_whose_folder_has_gone_is_still_on_the_page(
    serve: Any, store: LocalStore, digits: Bundle, verbose: Any, wait_for: Any, wait_for_log: Any
) -> None:
    store.push(digits, "twins")
    options = ("--poll-interval", "0.05", "--workers", "1")
    url = str(serve(*options, store=store.root, program=verbose).url)
    shutil.rmtree(store.root / "twins")
    store.push(digits)
    wait_for(lambda: version_of(url, digits) == 2)
    models = httpx.get(f"{url}/models").json()["models"]
    assert [(each["name"], each["version"]) for each in models] == [("digits", 2), ("twins", 1)]
    assert models[0]["card"] == models[1]["card"]
    assert httpx.get(f"{url}/models/twins/files/samples/7.png").status_code == 404
    # Batches are measured a second after a model was opened, so those of the twins before this.
    store.push(digits, "later")
    assert "Traceback" not in wait_for_log("later: batches of")


@pytest.mark.slow
def test_swaps_under_load_fail_no_request(url: str, store: LocalStore, digits: Bundle) -> None:
    """Every answer is whole, right, and of a version that was meant to answer."""
    store.push(digits)
    picture = digits.path("samples/7.png").read_bytes()
    request = write_request("localhost", "/predict/digits", picture, "image/png")
    stop = threading.Event()
    swaps = Counter[str]()

    def swap() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            if number % 3:
                store.promote("digits", 1 + number % 2)
                swaps["promote"] += 1
            else:
                store.set_traffic("digits", {1: 30, 2: 70})
                swaps["traffic"] += 1
            time.sleep(0.03)

    thread = threading.Thread(target=swap)
    thread.start()
    host, _, port = url.removeprefix("http://").partition(":")
    load = asyncio.run(run_load(host, int(port), request, connections=16, seconds=6))
    stop.set()
    thread.join()
    assert sum(swaps.values()) > 20
    assert load.broken == 0
    assert set(load.statuses) == {200}
    assert load.statuses[200] > 100
