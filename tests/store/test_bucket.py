"""Commands and servers with a store on a server that speaks S3's protocol."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelpad.bundle import Bundle
from modelpad.cli.main import main
from modelpad.errors import MissingExtra
from modelpad.locations import locate_store
from modelpad.store import Store, open_store
from tests.ports import find_port
from tests.store.buckets import Proxy, run_s3, s3_variables


@pytest.fixture(scope="module")
def s3() -> Iterator[tuple[str, int]]:
    with run_s3() as address:
        yield address


@pytest.fixture
def proxy(s3: tuple[str, int]) -> Iterator[Proxy]:
    proxy = Proxy(s3)
    yield proxy
    proxy.close()


@pytest.fixture
def url(
    request: pytest.FixtureRequest,
    proxy: Proxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """The URL of an empty store, which is reached through the proxy."""
    for name, value in s3_variables(proxy.port).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MODELPAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MODELPAD_STORE", str(tmp_path / "store"))
    return f"s3://bucket/{request.node.name}/models"


def open_at(url: str, cache: Path) -> Store:
    return open_store(locate_store(url, {"MODELPAD_CACHE": str(cache)}))


def test_the_command_line_pushes_lists_and_pulls(
    url: str, digits: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ("--store", url)
    assert main(["models", "push", str(digits.folder), *at]) == 0
    assert "as version 1" in capsys.readouterr().out
    assert main(["models", "push", "digits", *at]) == 0
    assert main(["models", "promote", "digits", "1", *at]) == 0
    capsys.readouterr()
    assert main(["models", "--json", *at]) == 0
    rows = json.loads(capsys.readouterr().out)["models"]
    assert [(row["version"], row["aliases"]) for row in rows] == [
        (1, ["production"]),
        (2, ["latest"]),
    ]
    assert main(["models", "pull", "digits@2", str(tmp_path / "copy"), *at]) == 0
    assert (tmp_path / "copy" / "manifest.json").is_file()
    assert main(["models", "sync", str(tmp_path / "other"), *at]) == 0
    assert "Copied digits@2." in capsys.readouterr().out
    assert main(["models", "sync", url, "--store", str(tmp_path / "other")]) == 0
    assert "has everything already" in capsys.readouterr().out
    assert main(["predict", "digits", str(digits.path("samples/7.png")), *at]) == 0
    assert main(["doctor", *at]) in (0, 1)
    assert f"store {url}" in capsys.readouterr().out


def test_an_unreachable_service_and_missing_credentials_are_told_apart(
    url: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    proxy.close()
    assert main(["models", "--store", url]) == 1
    assert f"{url} cannot be listed" in capsys.readouterr().err
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://127.0.0.1:{find_port()}")
    assert main(["models", "--store", url]) == 1
    error = capsys.readouterr().err
    assert "no credentials for s3://bucket" in error
    assert "AWS_ACCESS_KEY_ID" in error


def test_a_server_starts_from_the_cache_while_the_store_is_away(
    url: str, proxy: Proxy, digits: Bundle, tmp_path: Path, serve: Callable[..., Any]
) -> None:
    store = open_at(url, tmp_path / "cache")
    store.push(digits)
    store.push(digits)
    store.promote("digits", 1)
    store.open("digits")
    store.names()
    proxy.close()
    server = serve("--workers", "1", store=url)
    models = httpx.get(f"{server.url}/models").json()["models"]
    assert [(model["name"], model["version"]) for model in models] == [("digits", 1)]


def test_wrong_urls_and_a_missing_extra(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["models", "--store", "ftp://bucket/models"]) == 2
    assert "not the URL of a store" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(MissingExtra, match="obstore is not installed"):
        open_at(url, tmp_path)


@pytest.mark.slow
@pytest.mark.long
def test_two_servers_follow_one_store_while_both_answer(
    url: str,
    proxy: Proxy,
    digits: Bundle,
    tmp_path: Path,
    serve: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A push, a promotion, a roll-back, and a store that is away: every answer is right."""
    store = open_at(url, tmp_path / "ours")
    store.push(digits)
    servers = []
    for number, workers in enumerate(("1", "2")):
        monkeypatch.setenv("MODELPAD_CACHE", str(tmp_path / f"cache-{number}"))
        options = ("digits", "--workers", workers, "--poll-interval", "1")
        servers.append(serve(*options, store=url))
    picture = digits.path("samples/7.png").read_bytes()
    wrong: list[str] = []
    seen: list[set[int]] = [set(), set()]
    stop = threading.Event()

    def ask(number: int) -> None:
        with httpx.Client(base_url=servers[number].url) as client:
            while not stop.is_set():
                answer = client.post(
                    "/predict/digits", content=picture, headers={"content-type": "image/png"}
                )
                if answer.status_code != 200 or answer.json()["label"] != "7":
                    wrong.append(answer.text)

    def current(number: int) -> int:
        models = httpx.get(f"{servers[number].url}/models").json()["models"]
        return int(models[0]["version"])

    def converge(version: int) -> float:
        started = time.monotonic()
        for number in (0, 1):
            while current(number) != version:
                assert time.monotonic() < started + 60
                time.sleep(0.02)
            seen[number].add(version)
        return time.monotonic() - started

    threads = [threading.Thread(target=ask, args=[number]) for number in (0, 1)]
    for thread in threads:
        thread.start()
    try:
        took = {}
        store.push(digits)
        took["push"] = converge(2)
        store.promote("digits", 1)
        took["promote"] = converge(1)
        store.promote("digits", 2)
        took["promote again"] = converge(2)
        store.rollback("digits")
        took["roll back"] = converge(1)
        proxy.left = 0  # the store is away
        time.sleep(5)
        assert [current(0), current(1)] == [1, 1]
        proxy.left = None
        store.promote("digits", 2)
        took["after an outage"] = converge(2)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    print({name: round(seconds, 2) for name, seconds in took.items()})
    assert not wrong
