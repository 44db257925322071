"""A version's `model.sig` goes where the version goes, and leaves its bundle alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelpad.bundle import Bundle, open_bundle, write_bundle
from modelpad.errors import BundleInvalid, StoreError
from modelpad.store import LocalStore
from modelpad.store.objects import Objects
from modelpad.store.remote import RemoteStore
from modelpad.store.sync import Copied, copy_missing
from tests.store.buckets import make_objects, open_memory


@pytest.fixture
def local(tmp_path: Path, digits: Bundle) -> LocalStore:
    """A store with the digits, whose manifest another version of modelpad has written."""
    store = LocalStore(tmp_path / "store")
    path = store.push(digits).folder / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b"\n", b" \n"))
    store.write_signature_file("digits", 1, b"{}")
    return store


@pytest.fixture
def objects() -> Objects:
    return make_objects()


@pytest.fixture
def remote(objects: Objects, tmp_path: Path) -> RemoteStore:
    return open_memory(tmp_path / "cache", objects)


def read(bundle: Bundle) -> tuple[bytes, bytes]:
    """The manifest and the signature, byte for byte."""
    return tuple((bundle.folder / each).read_bytes() for each in ("manifest.json", "model.sig"))  # type: ignore[return-value]


def test_a_copy_is_signed_and_its_manifest_is_the_same(
    local: LocalStore, remote: RemoteStore, tmp_path: Path
) -> None:
    original = local.open("digits")
    assert local.verify() == []
    copy_missing(local, remote, print)
    assert read(remote.open("digits")) == read(original)
    back = LocalStore(tmp_path / "back")
    copy_missing(remote, back, print)
    assert read(back.open("digits")) == read(original)
    files = {name: original.path(name) for name in original.manifest.files}
    pulled = write_bundle(tmp_path / "pulled", original.manifest, files, original)
    assert read(pulled) == read(original)
    assert remote.verify() == []


def test_a_copy_under_another_name_is_not_signed(local: LocalStore, remote: RemoteStore) -> None:
    for store in (local, remote):
        store.push(local.open("digits"), "other")
        assert store.read_signature_file("other", 1) is None


def test_a_signature_that_is_made_later_is_synced_and_seen(
    local: LocalStore, remote: RemoteStore, objects: Objects, tmp_path: Path
) -> None:
    copy_missing(local, remote, print)
    other = open_memory(tmp_path / "other-cache", objects)
    other.open("digits")
    local.write_signature_file("digits", 1, b"[]")
    assert copy_missing(local, remote, print) == Copied(signatures=("digits@1",))
    assert copy_missing(local, remote, print) == Copied()
    assert read(other.open("digits"))[1] == b"[]"
    objects.delete(["models/digits/1/model.sig"])
    assert not (other.open("digits").folder / "model.sig").exists()


def test_every_trace_is_removed_with_the_version(
    local: LocalStore, remote: RemoteStore, objects: Objects
) -> None:
    copy_missing(local, remote, print)
    for store in (local, remote):
        store.push(local.open("digits"))
        store.remove("digits@1")
    assert not [path for path in objects.list("models") if "/1/" in path]
    assert not (local.root / "digits" / "1").exists()


def test_a_bundle_that_is_linked_into_the_store_is_signed_where_it_is(
    local: LocalStore, digits: Bundle
) -> None:
    (local.root / "digits" / "2").symlink_to(digits.folder)
    with pytest.raises(StoreError, match="symbolic link"):
        local.write_signature_file("digits", 2, b"{}")
    assert not (digits.folder / "model.sig").exists()


def test_a_manifest_may_not_list_a_signature(tmp_path: Path, digits: Bundle) -> None:
    files: dict[str, bytes | Path] = {name: digits.path(name) for name in digits.manifest.files}
    with pytest.raises(BundleInvalid, match=r"model\.sig"):
        write_bundle(tmp_path / "made", digits.manifest, files | {"model.sig": b"{}"})
    assert not (tmp_path / "made").exists()
    assert open_bundle(digits.folder).manifest.name == "digits"
