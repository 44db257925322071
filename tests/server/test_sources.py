"""From what a user types to a bundle."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelpad.bundle import Bundle
from modelpad.errors import ConversionFailed, ModelNotFound, UsageError
from modelpad.server.sources import ModelFinder
from modelpad.store import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def finder(store: LocalStore, tmp_path: Path) -> ModelFinder:
    return ModelFinder(store.root, tmp_path / "cache", pytest.fail)


def found(finder: ModelFinder, *names: str, **live: int) -> list[tuple[str, int]]:
    return [(each.name, each.version) for each in finder.find_all(names, live)]


def test_names_versions_and_folders_are_found(
    finder: ModelFinder, store: LocalStore, digits: Bundle
) -> None:
    store.push(digits, "mine")
    store.push(digits, "mine")
    assert (finder.find("mine").name, finder.find("mine").version) == ("mine", 2)
    assert finder.find("mine@1").version == 1
    assert finder.find(str(digits.folder)).name == "digits"


def test_all_models_of_the_store_are_served_when_none_is_named(
    finder: ModelFinder, store: LocalStore, digits: Bundle
) -> None:
    assert found(finder) == [("digits", 1)]  # comes with modelpad
    store.push(digits, "b")
    store.push(digits, "a")
    assert found(finder) == [("a", 1), ("b", 1)]


def test_a_path_that_is_no_model_says_why(finder: ModelFinder, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="There is no file"):
        finder.find("missing/model")
    with pytest.raises(ModelNotFound, match="There is no file"):
        finder.find("missing.onnx")
    (tmp_path / "empty" / "model").mkdir(parents=True)
    with pytest.raises(ConversionFailed, match="contains no model that is supported"):
        finder.find(str(tmp_path / "empty" / "model"))


def test_a_model_is_not_given_twice(finder: ModelFinder, digits: Bundle) -> None:
    with pytest.raises(UsageError, match="Given more than once: digits"):
        finder.find_all(["digits", str(digits.folder)], {})


def test_a_new_worker_takes_the_versions_that_the_others_serve(
    finder: ModelFinder, store: LocalStore, digits: Bundle
) -> None:
    store.push(digits, "mine")
    store.push(digits, "mine")
    assert found(finder, mine=1) == [("mine", 1)]
    assert found(finder, "mine", mine=1) == [("mine", 1)]
    assert found(finder, "mine", mine=7) == [("mine", 2)]  # version 7 was removed


def test_a_version_that_failed_to_load_is_skipped(
    finder: ModelFinder, store: LocalStore, digits: Bundle
) -> None:
    for _ in range(3):
        store.push(digits, "mine")
    for version in (2, 3):
        store.record_failure("mine", version, "damaged")
    assert found(finder, "mine") == [("mine", 1)]
    assert found(finder, "mine@3") == [("mine", 3)]  # asked for by number
    store.record_failure("mine", 1, "damaged")
    assert found(finder, "mine") == [("mine", 3)]  # nothing better: its error is the answer
