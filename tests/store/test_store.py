"""What every store does, in a folder and in a bucket: versions, aliases, desired states."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelpad.bundle import Bundle
from modelpad.errors import ModelNotFound, StoreError, UsageError, VersionNotFound
from modelpad.store import LocalStore, Store
from tests.store.buckets import open_memory


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return LocalStore(tmp_path / "store")
    return open_memory(tmp_path / "cache")


def test_versions_count_up_and_resolve(store: Store, digits: Bundle) -> None:
    assert store.names() == []
    assert [store.push(digits).version for _ in range(3)] == [1, 2, 3]
    assert store.names() == ["digits"]
    assert store.resolve("digits").version == 3
    assert store.resolve("digits@latest").version == 3
    assert store.resolve("digits@2").version == 2
    assert store.open("digits@1").manifest.files == digits.manifest.files
    assert store.push(digits, "other").name == "other"


def test_names_may_have_capitals_but_not_differ_in_case_alone(store: Store, digits: Bundle) -> None:
    assert store.push(digits, "ResNet50").name == "ResNet50"
    assert store.push(digits, "ResNet50").version == 2
    with pytest.raises(StoreError, match="'ResNet50', whose name differs from 'resnet50' in case"):
        store.push(digits, "resnet50")
    assert store.names() == ["ResNet50"]


def test_a_version_keeps_its_number_if_it_is_new(store: Store, digits: Bundle) -> None:
    assert [store.push(digits, version=number).version for number in (3, 7, 5, 8)] == [3, 7, 8, 9]
    assert store.push(digits).version == 10


def test_aliases_and_rollback(store: Store, digits: Bundle) -> None:
    for _ in range(3):
        store.push(digits)
    store.set_alias("digits", "production", 3)
    store.set_alias("digits", "production", 1)
    assert store.resolve("digits").version == 1
    assert store.resolve("digits@production").version == 1
    assert store.rollback("digits").version == 3
    assert store.rollback("digits").version == 2
    assert store.rollback("digits").version == 1
    with pytest.raises(VersionNotFound):
        store.rollback("digits")
    assert store.aliases("digits") == {"production": 1, "latest": 3}


@pytest.mark.parametrize("alias", ["latest", "7", "Not A Word", "../x", ""])
def test_some_words_cannot_be_aliases(store: Store, digits: Bundle, alias: str) -> None:
    store.push(digits)
    with pytest.raises(UsageError):
        store.set_alias("digits", alias, 1)


def test_errors_for_unknown_names_suggest_the_nearest(store: Store, digits: Bundle) -> None:
    store.push(digits)
    with pytest.raises(ModelNotFound, match="digit") as raised:
        store.resolve("digit")
    assert "digits" in raised.value.hint
    with pytest.raises(VersionNotFound) as missing:
        store.resolve("digits@9")
    assert "1" in missing.value.hint


def test_a_removed_number_is_never_used_again(store: Store, digits: Bundle) -> None:
    store.push(digits)
    store.push(digits)
    store.remove("digits@2")
    assert store.versions("digits") == [1]
    assert store.push(digits).version == 3


def test_a_version_with_an_alias_is_not_removed(store: Store, digits: Bundle) -> None:
    store.push(digits)
    store.set_alias("digits", "production", 1)
    with pytest.raises(StoreError, match="production") as raised:
        store.remove("digits@1")
    assert str(store.location) in raised.value.hint  # no other can take the alias
    store.push(digits)
    with pytest.raises(StoreError, match="production") as raised:
        store.remove("digits@1")
    assert "models alias digits production ANOTHER" in raised.value.hint


@pytest.mark.parametrize(("keep", "opened"), [(1, {2}), (2, {2, 3, 4}), (3, {2, 3, 4})])
def test_the_desired_state_has_the_newest_versions_and_the_default(
    store: Store, digits: Bundle, keep: int, opened: set[int]
) -> None:
    for _ in range(4):
        store.push(digits)
    assert store.desired_state("digits", keep).versions == set(range(5 - keep, 5))
    store.promote("digits", 2)
    assert store.desired_state("digits", keep).versions == opened


def test_the_desired_state_keeps_the_newest_versions(store: Store, digits: Bundle) -> None:
    for _ in range(4):
        store.push(digits, "digits")
    assert [sorted(store.desired_state("digits", keep).versions) for keep in (1, 2, 3)] == [
        [4],
        [3, 4],
        [2, 3, 4],
    ]
    store.promote("digits", 1)
    assert [sorted(store.desired_state("digits", keep).versions) for keep in (1, 2)] == [
        [1],
        [1, 3, 4],
    ]


def test_where_the_data_is_stays_here(store: Store, digits: Bundle, tmp_path: Path) -> None:
    store.push(digits)
    store.push(digits)
    assert store.read_data("digits", 1) is None
    store.record_data("digits", 1, tmp_path / "data")
    store.record_data("digits", 9, tmp_path / "data")
    assert store.read_data("digits", 1) == tmp_path / "data"
    assert store.read_data("digits", 9) is None
    store.remove("digits@1")
    assert store.read_data("digits", 1) is None
    assert store.verify() == []
