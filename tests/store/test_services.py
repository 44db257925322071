"""A store in a cloud: what it promises, on each service's own protocol."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from modelpad.bundle import Bundle
from modelpad.cli.main import main
from modelpad.errors import StoreError
from modelpad.locations import locate_store
from modelpad.store import Store, open_store
from modelpad.store.memory import SEEN
from modelpad.store.objects import Objects, open_objects
from tests.store.buckets import Proxy
from tests.store.services import SERVICES, Service, run_service

LARGE = 12 << 20  # bytes: is uploaded in parts


@pytest.fixture(scope="module", params=sorted(SERVICES))
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    with run_service(request.param, tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture
def proxy(service: Service) -> Iterator[Proxy]:
    proxy = Proxy(("127.0.0.1", service.port))
    yield proxy
    proxy.close()


@pytest.fixture
def url(
    request: pytest.FixtureRequest,
    service: Service,
    proxy: Proxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """The URL of an empty store, which is reached through the proxy."""
    for name, value in service.variables(proxy.port).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MODELPAD_CACHE", str(tmp_path / "cache"))
    return f"{service.bucket}/{request.node.originalname}/models"


def open_at(url: str, cache: Path) -> Store:
    return open_store(locate_store(url, {"MODELPAD_CACHE": str(cache)}))


@pytest.fixture
def objects(url: str) -> Objects:
    return open_objects(url)


def test_two_machines_share_a_store(url: str, digits: Bundle, tmp_path: Path) -> None:
    ours, theirs = open_at(url, tmp_path / "a"), open_at(url, tmp_path / "b")
    assert ours.names() == []
    ours.check_writable()
    assert [ours.push(digits).version, theirs.push(digits).version] == [1, 2]
    theirs.promote("digits", 1)
    ours.set_alias("digits", "staging", 2)
    assert theirs.aliases("digits") == {"latest": 2, "production": 1, "staging": 2}
    bundle = theirs.open("digits")
    assert bundle.path("model.onnx").read_bytes() == digits.path("model.onnx").read_bytes()
    assert ours.verify() == theirs.verify() == []


def test_each_of_racing_pushes_gets_a_version(url: str, digits: Bundle, tmp_path: Path) -> None:
    stores = [open_at(url, tmp_path / str(number)) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        versions = list(pool.map(lambda store: store.push(digits).version, stores))
    assert sorted(versions) == stores[0].versions("digits") == [1, 2, 3, 4]


def test_one_of_racing_writers_wins(objects: Objects) -> None:
    assert objects.create("one", b"0")
    seen = objects.read("one")
    together = threading.Barrier(4)

    def replace(number: int) -> bool:
        together.wait()
        return objects.replace("one", b"%d" % number, seen) is not None

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(replace, range(1, 5)))
    assert won.count(True) == 1
    found = objects.read("one")
    assert found is not None
    assert found.body == b"%d" % (won.index(True) + 1)
    assert objects.create("one", b"other") is None
    objects.delete(["one", "one"])
    assert objects.read("one") is None
    assert objects.replace("one", b"late", found) is None


def test_large_files_and_long_lists(objects: Objects, tmp_path: Path) -> None:
    large, copy = tmp_path / "large", tmp_path / "copy"
    large.write_bytes(bytes(range(256)) * (LARGE // 256))
    objects.upload("files/large", large)
    objects.download("files/large", copy, LARGE)
    assert copy.read_bytes() == large.read_bytes()
    for number in range(20):
        objects.write(f"files/a & b/{number} é.txt", b"%d" % number)
    tags = objects.list("files")
    assert len(tags) == 21
    read = objects.read("files/a & b/7 é.txt")
    assert read is not None
    assert (read.body, read.tag) == (b"7", tags["files/a & b/7 é.txt"])
    assert objects.list("file") == {}


@pytest.mark.parametrize("left", [0, 200, 60_000])
def test_a_cut_connection_leaves_nothing_half_written(
    url: str, proxy: Proxy, digits: Bundle, tmp_path: Path, left: int
) -> None:
    url = f"{url}/{left}"
    store: Any = open_at(url, tmp_path / "cache")
    store.push(digits)
    proxy.left = left
    with pytest.raises(StoreError):
        store.open("digits")
    with pytest.raises(StoreError):
        store.push(digits)
    proxy.left = None
    assert store.versions("digits") == [1]
    cached = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert not [path for path in cached if path.name != SEEN and not path.name.startswith(".used-")]
    assert store.open("digits").manifest.files == digits.manifest.files
    assert store.push(digits).version == 2


def test_a_missing_bucket_and_wrong_credentials_are_named(
    url: str,
    service: Service,
    digits: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = service.bucket.replace("bucket", "another")
    assert main(["models", "push", str(digits.folder), "--store", f"{other}/models"]) == 1
    assert f"no bucket {other}" in capsys.readouterr().err
    if service.bucket.startswith("az://"):
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "AAAA")
        assert main(["models", "--store", url]) == 1
        error = capsys.readouterr().err
        assert f"{service.bucket} rejects the credentials" in error
        assert "AZURE_STORAGE_ACCOUNT_KEY" in error
