"""A store in a bucket: races, the cache, and what a listing costs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelpad.bundle import Bundle, open_bundle
from modelpad.errors import ChecksumMismatch, ModelpadError, StoreError, UsageError
from modelpad.locations import RemoteLocation, locate_store
from modelpad.store import LocalStore, open_store
from modelpad.store.objects import Found, Objects, explain
from modelpad.store.remote import RemoteStore
from modelpad.store.sync import copy_missing
from tests.store.buckets import make_objects, open_memory


class Watched:
    """Objects that count what is asked, and call `meanwhile` once before a conditional write."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self.asked: list[str] = []
        self.before = ("create", "replace")
        self.meanwhile: Callable[[], object] | None = None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._objects, name)

        def call(path: str, *arguments: Any) -> Any:
            self.asked.append(f"{name} {path}")
            other = self.meanwhile
            if name in self.before:
                self.meanwhile = None
            if other is not None and name in self.before:
                other()
            return method(path, *arguments)

        return call


@pytest.fixture
def objects() -> Objects:
    return make_objects()


@pytest.fixture
def watched(objects: Objects) -> Any:
    return Watched(objects)


@pytest.fixture
def store(watched: Any, tmp_path: Path) -> RemoteStore:
    return open_memory(tmp_path / "cache", watched)


@pytest.fixture
def other(objects: Objects, tmp_path: Path) -> RemoteStore:
    """The same store from another machine."""
    return open_memory(tmp_path / "other-cache", objects)


def rename(bundle: Bundle, title: str) -> Bundle:
    return replace(bundle, manifest=replace(bundle.manifest, title=title))


def test_of_two_racing_pushes_one_becomes_the_next_version(
    store: RemoteStore, other: RemoteStore, watched: Any, digits: Bundle
) -> None:
    watched.meanwhile = lambda: other.push(rename(digits, "theirs"))
    assert store.push(rename(digits, "ours")).version == 2
    assert [store.manifest(f"digits@{n}").title for n in (1, 2)] == ["theirs", "ours"]
    assert store.verify() == []


def test_of_two_racing_aliases_the_second_decides_again(
    store: RemoteStore, other: RemoteStore, watched: Any, digits: Bundle
) -> None:
    for _ in range(3):
        store.push(digits)
    watched.meanwhile = lambda: other.set_alias("digits", "staging", 2)
    store.promote("digits", 3)
    assert store.aliases("digits") == {"latest": 3, "production": 3, "staging": 2}
    watched.meanwhile = lambda: other.promote("digits", 1)
    with pytest.raises(StoreError, match="production"):
        store.remove("digits@1")  # nobody used it when the removal began
    assert other.versions("digits") == [1, 2, 3]


def test_a_version_that_is_being_removed_gets_no_alias(
    store: RemoteStore, other: RemoteStore, watched: Any, digits: Bundle
) -> None:
    for _ in range(2):
        store.push(digits)
    watched.meanwhile = lambda: other.remove("digits@1")
    with pytest.raises(ModelpadError, match="no version or alias '1'"):
        store.promote("digits", 1)
    assert store.versions("digits") == [2]


def test_a_version_that_is_promoted_after_the_listing_is_found(
    store: RemoteStore, other: RemoteStore, watched: Any, digits: Bundle
) -> None:
    for _ in range(2):
        store.push(digits)
    other.promote("digits", 1)

    def release() -> None:
        other.promote("digits", other.push(digits).version)

    watched.meanwhile, watched.before = release, ("read",)
    assert store.open("digits").folder.name.startswith("3-")


def test_a_removal_leaves_no_object_but_the_state(
    store: RemoteStore, objects: Objects, digits: Bundle
) -> None:
    store.push(digits)
    store.push(digits)
    before = objects.list("files")
    store.remove("digits@1")
    assert len(objects.list("files")) == len(before) / 2
    assert set(objects.list("models")) == {
        "models/digits/2/manifest.json",
        "models/digits/aliases.json",
    }


def test_a_push_that_fails_leaves_nothing(
    store: RemoteStore, objects: Objects, watched: Any, digits: Bundle
) -> None:
    def fail() -> None:
        raise StoreError("cut")

    watched.meanwhile, watched.before = fail, ("upload",)
    with pytest.raises(StoreError, match="cut"):
        store.push(digits)
    assert objects.list("models") == objects.list("files") == {}


def test_the_files_of_a_push_stay_while_its_outcome_is_unknown(
    store: RemoteStore, other: RemoteStore, objects: Objects, watched: Any, digits: Bundle
) -> None:
    """The service has created the manifest, and its response is lost."""
    create = objects.create

    def lose(path: str, body: bytes) -> str | None:
        create(path, body)
        raise StoreError("lost")

    objects.create = lose  # type: ignore[method-assign]
    with pytest.raises(StoreError, match="lost"):
        store.push(digits)
    assert other.open("digits@1").manifest.files == digits.manifest.files


def test_a_write_whose_response_was_lost_has_succeeded(objects: Objects) -> None:
    assert objects.create("a", b"1")
    assert objects.create("a", b"1")  # sent again by the client
    assert objects.create("a", b"2") is None
    seen = objects.read("a")
    assert isinstance(seen, Found)
    assert objects.replace("a", b"3", seen)
    assert objects.replace("a", b"3", seen)
    assert objects.replace("a", b"4", seen) is None
    assert objects.replace("missing", b"4", seen) is None


def test_following_costs_one_listing_and_what_has_changed(
    store: RemoteStore, other: RemoteStore, watched: Any, digits: Bundle
) -> None:
    for name in ("a", "b", "c"):
        other.push(digits, name)
        other.promote(name, 1)

    def follow() -> list[str]:
        watched.asked.clear()
        listing = store.listing()
        assert all(listing.read(name).plan().default_version == 1 for name in listing.names())
        return [*watched.asked]

    assert len(follow()) == 4
    assert follow() == ["list models"]
    other.set_alias("b", "staging", 1)
    assert follow() == ["list models", "read models/b/aliases.json"]


def test_a_version_is_downloaded_once_and_again_if_the_cache_is_damaged(
    store: RemoteStore, watched: Any, digits: Bundle
) -> None:
    store.push(digits)
    folder = store.open("digits").folder
    watched.asked.clear()
    assert store.open("digits").folder == folder
    assert not [each for each in watched.asked if each.startswith("download")]
    (folder / "model.onnx").write_bytes(b"damaged")
    assert store.open("digits").path("model.onnx").read_bytes() != b"damaged"


def test_a_damaged_object_is_never_served(
    store: RemoteStore, objects: Objects, digits: Bundle, tmp_path: Path
) -> None:
    store.push(digits)
    (path,) = (path for path in objects.list("files") if path.endswith("/model.onnx"))
    body = bytearray(digits.path("model.onnx").read_bytes())
    body[100] ^= 1
    (tmp_path / "damaged").write_bytes(body)
    objects.upload(path, tmp_path / "damaged")
    with pytest.raises(ChecksumMismatch, match=r"digits@1 is damaged in memory://.*model\.onnx"):
        store.open("digits")
    assert "model.onnx" in store.verify()[0]
    assert not [*(tmp_path / "cache" / "digits").glob("[!.]*")]
    objects.delete([path])
    with pytest.raises(StoreError):
        store.open("digits")


def test_a_longer_object_is_not_downloaded_whole(objects: Objects, tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(bytes(8_000_000))
    objects.upload("a", tmp_path / "long")
    objects.download("a", tmp_path / "part", 10)
    assert (tmp_path / "part").stat().st_size == 11


@pytest.mark.parametrize(
    "body",
    [b"{}", b"[]", b"\xff", b'{"files_at": "../../x"}'],
    ids=["none", "list", "bytes", "path"],
)
def test_a_manifest_of_strangers_is_rejected(
    store: RemoteStore, objects: Objects, body: bytes
) -> None:
    objects.create("models/digits/1/manifest.json", body)
    objects.create("models/_x/1/manifest.json", body)
    assert store.names() == ["digits"]
    with pytest.raises(ModelpadError, match=r"manifest|format"):
        store.open("digits")
    assert "digits@1" in store.verify()[0]


@pytest.mark.parametrize("change", ["space", "mark", "utf-16-le", "token"])
def test_a_manifest_in_an_unusual_form_can_be_pushed(
    store: RemoteStore, digits: Bundle, tmp_path: Path, change: str
) -> None:
    shutil.copytree(digits.folder, tmp_path / "m")
    text = (tmp_path / "m" / "manifest.json").read_text("utf-8")
    body = {
        "space": f"\n{text}".encode(),
        "mark": text.encode("utf-8-sig"),
        "utf-16-le": text.encode("utf-16-le"),
        "token": text.replace("{", '{"files_at": "mine", ', 1).encode(),
    }[change]
    (tmp_path / "m" / "manifest.json").write_bytes(body)
    store.push(open_bundle(tmp_path / "m"))
    assert store.open("digits").manifest == digits.manifest
    assert store.verify() == []


def test_a_version_whose_manifest_cannot_be_read_can_be_removed(
    store: RemoteStore, objects: Objects, digits: Bundle
) -> None:
    store.push(digits)
    objects.create("models/digits/2/manifest.json", b'{"files_at": "?"}')
    store.remove("digits@2")
    assert store.versions("digits") == [1]


def test_a_state_that_cannot_be_read_names_the_object(
    store: RemoteStore, objects: Objects, digits: Bundle
) -> None:
    store.push(digits)
    objects.create("models/digits/aliases.json", b"{")
    with pytest.raises(StoreError, match=r"bucket/models/digits/aliases\.json cannot be read"):
        store.resolve("digits")


def test_two_stores_are_brought_together(
    store: RemoteStore, digits: Bundle, tmp_path: Path
) -> None:
    local = LocalStore(tmp_path / "store")
    for _ in range(3):
        local.push(digits)
    local.remove("digits@2")
    local.promote("digits", 1)
    assert copy_missing(local, store, print).versions == ("digits@1", "digits@3")
    assert (store.versions("digits"), store.resolve("digits").version) == ([1, 3], 1)
    again = copy_missing(local, store, print)
    assert (again.versions, again.aliases) == ((), ())
    store.push(digits, version=7)
    assert copy_missing(store, local, print).versions == ("digits@7",)
    shutil.rmtree(local.root)
    card = tmp_path / "card"
    shutil.copytree(digits.folder, card)
    local.push(digits)
    files = dict([*digits.manifest.files.items()][1:])
    store.push(digits, "other")
    local.push(replace(digits, manifest=replace(digits.manifest, files=files)), "other")
    with pytest.raises(StoreError, match="other@1 is another model"):
        copy_missing(local, store, print)


def test_a_store_is_located_by_a_folder_or_a_url(tmp_path: Path) -> None:
    variables = {"MODELPAD_CACHE": str(tmp_path)}
    found = locate_store("s3://bucket/some/models/", variables)
    assert isinstance(found, RemoteLocation)
    assert (found.url, found.folder.parent) == ("s3://bucket/some/models", tmp_path / "stores")
    assert locate_store(None, variables | {"MODELPAD_STORE": "gs://b"}) != found
    assert locate_store(found, {}) == found
    assert locate_store("C:/models", {}) == Path("C:/models")
    for wrong in ("s3://", "http://bucket/x", "az://account", "s3:/bucket/models", "s3://b/x?y=1"):
        with pytest.raises(UsageError, match="not the URL of a store"):
            locate_store(wrong, variables)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Generic S3 error: the instance metadata endpoint failed", "no credentials"),
        ("Generic GCS error: NoSuchBucket", "no bucket gs://bucket"),
        ("Generic S3 error: Error performing GET http://x { reqwest", "Generic S3 error"),
    ],
)
def test_errors_say_what_to_do(text: str, words: str) -> None:
    error = explain(Exception(text), "gs://bucket/models", "read")
    assert words in error.message
    assert error.hint


def test_a_store_that_is_away_is_as_it_was_last_seen(
    objects: Objects, store: RemoteStore, tmp_path: Path, digits: Bundle
) -> None:
    away = RemoteLocation("memory://bucket", tmp_path / "cache", remembered=True)
    with pytest.raises(StoreError, match="this machine has no version of it"):
        open_store(away)
    for _ in range(2):
        store.push(digits)
    store.promote("digits", 1)
    assert store.names() == ["digits"]
    bundle = store.open("digits")
    store.listing().read("digits")
    remembered = open_store(away)
    assert remembered.aliases("digits") == {"latest": 2, "production": 1}
    assert remembered.open("digits").folder == bundle.folder
    with pytest.raises(StoreError, match=r"2/manifest\.json is not on this machine"):
        remembered.open("digits@2")
    for change in (
        lambda: remembered.push(digits),
        lambda: remembered.promote("digits", 2),
        lambda: remembered.remove("digits@1"),
        lambda: remembered.write_signature_file("digits", 1, b"{}"),
        remembered.check_writable,
    ):
        with pytest.raises(StoreError, match="cannot be reached"):
            change()
    store.promote("digits", 2)
    store.names()
    assert open_store(away).versions("digits") == [1, 2]  # its state has changed: ask for it again


def test_the_cache_keeps_versions_in_use_and_the_last_few(
    store: RemoteStore, other: RemoteStore, digits: Bundle, tmp_path: Path
) -> None:
    for _ in range(7):
        other.push(digits)
    cached = tmp_path / "cache" / "digits"

    def kept() -> list[int]:
        return sorted(int(path.name.partition("-")[0]) for path in cached.glob("[0-9]*"))

    def open_at(version: int, time_s: int) -> Bundle:
        bundle = store.open(f"digits@{version}")
        (lock,) = cached.glob(f".used-{version}-*")
        os.utime(lock, (time_s, time_s))
        return bundle

    used = open_at(1, 1)
    for version in range(2, 7):
        open_at(version, version)
    assert kept() == [1, 3, 4, 5, 6]  # 1 and, while it was downloaded, 6 were in use
    open_at(3, 8)  # is now the last one that was used
    del used
    store.open("digits@7")
    assert kept() == [3, 5, 6, 7]
    assert len([*cached.glob(".used-*")]) == 4
    assert not [*cached.glob(".staging-*")]


def test_a_check_of_all_versions_removes_what_a_killed_one_left(
    store: RemoteStore, digits: Bundle, tmp_path: Path
) -> None:
    store.push(digits)
    left = tmp_path / "cache" / ".staging-1-0123456789ab"
    left.mkdir(parents=True)
    assert store.verify() == []
    assert not left.exists()
