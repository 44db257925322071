"""Loading and unloading over the network: by admins alone, in all workers, and for good."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from modelpad.bundle import Bundle
from modelpad.store import LocalStore

ROOT = {"authorization": "Bearer secret-of-root"}
ANN = {"authorization": "Bearer secret-of-ann"}


@pytest.fixture
def store(tmp_path: Path, digits: Bundle) -> LocalStore:
    made = LocalStore(tmp_path / "store")
    made.push(digits)
    made.push(digits, "twins")
    return made


@pytest.fixture
def keyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELPAD_API_KEYS", "root=secret-of-root,ann=secret-of-ann")


def post(url: str, path: str, body: Any = None, headers: Any = None) -> httpx.Response:
    return httpx.post(f"{url}/v2/repository/{path}", json=body, headers=headers or ROOT)


def is_ready(url: str, name: str) -> set[int]:
    """What several connections, and so several workers, say."""
    path = f"{url}/v2/models/{name}/ready"
    return {httpx.get(path, headers=ROOT).status_code for _ in range(12)}


def read_versions(url: str, name: str) -> set[str]:
    """The versions that several connections, and so several workers, serve."""
    path = f"{url}/v2/models/{name}"
    answers = [httpx.get(path, headers=ROOT).json() for _ in range(12)]
    return {version for answer in answers for version in answer["versions"]}


@pytest.mark.slow
def test_models_are_unloaded_and_loaded_in_all_workers(
    serve: Any, store: LocalStore, digits: Bundle, keyed: None, wait_for: Any
) -> None:
    options = ("--admin", "root", "--workers", "2", "--poll-interval", "0.1")
    url = serve(*options, store=store.root).url
    assert [one["state"] for one in post(url, "index").json()] == ["READY", "READY"]
    assert "model_repository" in httpx.get(f"{url}/v2", headers=ROOT).json()["extensions"]
    assert post(url, "models/twins/unload").status_code == 200
    assert is_ready(url, "twins") == {404}
    assert is_ready(url, "digits") == {200}
    assert post(url, "models/digits/unload").status_code == 200
    nothing = httpx.post(f"{url}/predict", headers=ROOT)
    assert nothing.status_code == 404
    assert nothing.json()["error"]["message"] == "No model is served here."
    assert post(url, "models/digits/load").status_code == 200
    assert post(url, "index").json()[1] == {
        "name": "twins",
        "version": "1",
        "state": "UNAVAILABLE",
        "reason": "unloaded",
    }
    assert len(post(url, "index", {"ready": True}).json()) == 1
    store.push(digits)
    wait_for(lambda: read_versions(url, "digits") == {"2"})  # the store has been read since
    assert is_ready(url, "twins") == {404}
    assert post(url, "models/twins/load").status_code == 200
    assert is_ready(url, "twins") == {200}


@pytest.mark.slow
def test_what_was_unloaded_stays_so_in_a_new_worker(
    serve: Any, store: LocalStore, keyed: None, wait_for: Any
) -> None:
    running = serve("--admin", "root", "--workers", "2", "--poll-interval", "0.1", store=store.root)
    assert post(running.url, "models/twins/unload").status_code == 200
    victim = psutil.Process(running.process.pid).children()[0]
    victim.kill()
    wait_for(lambda: len(psutil.Process(running.process.pid).children()) == 2)
    wait_for(lambda: "modelpad_workers 2" in httpx.get(f"{running.url}/metrics").text)
    assert is_ready(running.url, "twins") == {404}


def test_what_is_unloaded_while_a_worker_starts_is_unloaded_there_too(
    serve: Any, store: LocalStore, keyed: None, wait_for: Any, gated: Any, tmp_path: Path
) -> None:
    gates = tmp_path / "gates"
    gates.mkdir()
    options = ("--admin", "root", "--workers", "2", "--poll-interval", "0.1")
    running = serve(*options, store=store.root, program=(*gated, str(gates)))
    (gates / "start").touch()
    psutil.Process(running.process.pid).children()[0].kill()
    wait_for((gates / "start-reached").exists)
    assert post(running.url, "models/twins/unload").status_code == 200
    (gates / "start").unlink()
    wait_for(lambda: "modelpad_workers 2" in httpx.get(f"{running.url}/metrics").text)
    assert is_ready(running.url, "twins") == {404}


def test_what_is_unloaded_while_it_changes_stays_away(
    serve: Any,
    store: LocalStore,
    digits: Bundle,
    keyed: None,
    wait_for: Any,
    gated: Any,
    tmp_path: Path,
) -> None:
    gates = tmp_path / "gates"
    gates.mkdir()
    (gates / "prepare").touch()
    options = ("--admin", "root", "--workers", "2", "--poll-interval", "0.1")
    url = serve(*options, store=store.root, program=(*gated, str(gates))).url
    store.push(digits, "twins")
    wait_for((gates / "prepare-reached").exists)
    assert post(url, "models/twins/unload").status_code == 200
    (gates / "prepare").unlink()
    store.push(digits)
    wait_for(lambda: read_versions(url, "digits") == {"2"})  # the store has been read since
    assert is_ready(url, "twins") == {404}
    assert post(url, "models/twins/load").status_code == 200
    assert httpx.get(f"{url}/v2/models/twins", headers=ROOT).json()["versions"] == ["2"]


@pytest.mark.slow
def test_many_who_load_at_once_open_it_once(
    serve: Any, store: LocalStore, keyed: None, wait_for: Any
) -> None:
    """What was opened twice stayed in memory for good, with its threads."""
    options = (
        "--admin",
        "root",
        "--workers",
        "1",
        "--poll-interval",
        "0.05",
        "--max-batch-size",
        "1",
    )
    running = serve(*options, store=store.root)
    process = psutil.Process(running.process.pid)
    before = process.num_threads()
    for _ in range(8):
        with ThreadPoolExecutor(4) as clients:
            told = list(clients.map(lambda _: post(running.url, "models/twins/load"), range(4)))
        assert {each.status_code for each in told} == {200}
        assert post(running.url, "models/twins/unload").status_code == 200
    assert post(running.url, "models/twins/load").status_code == 200
    assert is_ready(running.url, "twins") == {200}
    wait_for(lambda: process.num_threads() <= before + 8)  # those of asyncio.to_thread


def test_a_name_beyond_the_command_line_is_loaded(
    serve: Any, store: LocalStore, keyed: None
) -> None:
    url = serve("digits", "--admin", "root", "--workers", "2", store=store.root).url
    assert is_ready(url, "twins") == {404}
    assert post(url, "models/twins/load").status_code == 200
    assert is_ready(url, "twins") == {200}


def test_a_model_given_as_a_folder_comes_back(
    serve: Any, bundles: Path, tmp_path: Path, keyed: None
) -> None:
    options = ("--admin", "root", "--workers", "1", "--poll-interval", "0")
    url = serve(str(bundles / "pick"), *options, store=tmp_path / "store").url
    assert post(url, "models/pick/unload").status_code == 200
    assert is_ready(url, "pick") == {404}
    assert post(url, "models/pick/load").status_code == 200
    answer = httpx.post(f"{url}/predict/pick", json={"row": [0, 9, 0]}, headers=ANN)
    assert answer.json()["label"] == "b"


def test_only_admins_may(serve: Any, store: LocalStore, keyed: None) -> None:
    url = serve("--admin", "root", "--workers", "2", store=store.root).url
    for path in ("models/twins/load", "models/twins/unload"):
        assert post(url, path, headers=ANN).status_code == 403
        assert httpx.post(f"{url}/v2/repository/{path}").status_code == 401
    assert len(post(url, "index", headers=ANN).json()) == 2  # it only reads
    assert httpx.post(f"{url}/v2/repository/index").status_code == 401
    assert is_ready(url, "twins") == {200}
    unknown = post(url, "models/twin/load")
    assert unknown.status_code == 404
    assert "Did you mean twins?" in unknown.json()["error"]
    assert post(url, "models/twin/unload").status_code == 404


def test_nobody_may_where_nobody_was_named(
    serve: Any, store: LocalStore, run_modelpad: Any
) -> None:
    url = serve("--workers", "1", store=store.root).url
    refused = post(url, "models/twins/unload")
    assert refused.status_code == 404
    assert "--admin" in refused.json()["error"]
    assert is_ready(url, "twins") == {200}
    keyless = run_modelpad("serve", "digits", "--admin", "root")
    assert keyless.returncode == 2
    assert "--api-keys" in keyless.stderr


def test_a_damaged_model_is_not_loaded(serve: Any, store: LocalStore, keyed: None) -> None:
    url = serve("digits", "--admin", "root", "--workers", "2", store=store.root).url
    (store.root / "twins" / "1" / "model.onnx").write_bytes(b"damaged")
    failed = post(url, "models/twins/load")
    assert failed.status_code == 500
    assert "model.onnx is not the one that was written" in failed.json()["error"]
    assert "model.onnx" in post(url, "index").json()[1]["reason"]


def test_tritons_own_clients(serve: Any, store: LocalStore, keyed: None, free_port: int) -> None:
    http = pytest.importorskip("tritonclient.http")
    grpc = pytest.importorskip("tritonclient.grpc")
    port = free_port
    options = ("--admin", "root", "--workers", "2", "--grpc-port", str(port))
    url = serve(*options, store=store.root).url
    for client in (
        http.InferenceServerClient(url.removeprefix("http://")),
        grpc.InferenceServerClient(f"127.0.0.1:{port}"),
    ):
        client.unload_model("twins", headers=ROOT)
        assert is_ready(url, "twins") == {404}
        told = client.get_model_repository_index(headers=ROOT)
        if not isinstance(told, list):
            told = [{"name": each.name, "state": each.state} for each in told.models]
        assert {each["name"]: each["state"] for each in told} == {
            "digits": "READY",
            "twins": "UNAVAILABLE",
        }
        client.load_model("twins", headers=ROOT)
        assert is_ready(url, "twins") == {200}
        with pytest.raises(Exception, match="may not load"):
            client.unload_model("twins", headers=ANN)
        # As simple_http_model_control.py has it.
        for name, config in (("twins", '{"max_batch_size": "16"}'), ("wrong_model_name", None)):
            with pytest.raises(Exception, match="failed to load"):
                client.load_model(name, headers=ROOT, config=config)
        client.close()
