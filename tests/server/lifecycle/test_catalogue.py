"""What a server should serve: the store, the command line and the overrides together."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelpad.bundle import Bundle
from modelpad.errors import ModelNotFound, VersionNotFound
from modelpad.server.lifecycle.catalogue import Catalogue
from modelpad.server.lifecycle.overrides import LOAD, UNLOAD, Overrides
from modelpad.server.models import LoadOptions
from modelpad.store import DesiredState, LocalStore, ResolvedBundle, resolve_bundle


@pytest.fixture
def store(tmp_path: Path, digits: Bundle) -> LocalStore:
    made = LocalStore(tmp_path / "store")
    made.push(digits, "a")
    made.push(digits, "b")
    return made


def make_catalogue(
    store: LocalStore, *words: str, overrides: Overrides | None = None, keep: int = 1
) -> Catalogue:
    given = [resolve_bundle(word, store.root) for word in words]
    return Catalogue(store.root, words, given, overrides or Overrides(), LoadOptions(), keep)


def test_every_model_of_the_store_is_served_when_none_is_named(store: LocalStore) -> None:
    assert set(make_catalogue(store).read_plans()) == {"a", "b"}


def test_several_versions_of_a_folder_are_served(store: LocalStore, digits: Bundle) -> None:
    given = [ResolvedBundle("net", version, digits) for version in (1, 4)]
    catalogue = Catalogue(store.root, ["models"], given, Overrides(), LoadOptions())
    assert catalogue.read_plans() == {"net": DesiredState(4, frozenset({1, 4}))}
    model = catalogue.load("net", 1)
    model.batcher.close()
    assert (model.name, model.version) == ("net", 1)
    with pytest.raises(ModelNotFound):
        catalogue.load("net", 2)


def test_a_model_that_is_not_named_could_be_served(store: LocalStore) -> None:
    catalogue = make_catalogue(store, "a")
    assert set(catalogue.read_plans()) == {"a"}
    assert set(catalogue.read_all()) == {"a", "b"}


def test_overrides_change_what_is_served(store: LocalStore) -> None:
    overrides = Overrides()
    catalogue = make_catalogue(store, "a", overrides=overrides)
    overrides.note(LOAD, "b")
    assert set(catalogue.read_plans()) == {"a", "b"}
    overrides.note(UNLOAD, "a")
    assert set(catalogue.read_plans()) == {"b"}


def test_a_plain_name_follows_the_store(store: LocalStore, digits: Bundle) -> None:
    catalogue = make_catalogue(store, "a")
    store.push(digits, "a")
    assert catalogue.read_plans()["a"].default_version == 2
    store.set_shadow("a", 1)
    assert catalogue.read_plans()["a"].versions == {1, 2}
    assert catalogue.read_plans()["a"].shadow == 1


def test_the_newest_versions_are_kept(store: LocalStore, digits: Bundle) -> None:
    for _ in range(2):
        store.push(digits, "a")
    assert make_catalogue(store, "a", keep=2).read_plans()["a"].versions == {2, 3}


def test_an_alias_of_a_name_is_followed(store: LocalStore, digits: Bundle) -> None:
    store.push(digits)
    store.push(digits)
    store.set_alias("digits", "staging", 1)
    catalogue = make_catalogue(store, "digits@staging")
    store.set_traffic("digits", {1: 50, 2: 50})
    before = catalogue.read_plans()["digits"]
    assert (before.default_version, set(before.versions)) == (1, {1})
    assert not before.traffic
    store.set_alias("digits", "staging", 2)
    assert catalogue.read_plans()["digits"].default_version == 2
    kept = make_catalogue(store, "digits@staging", keep=2).read_plans()["digits"]
    assert kept.versions == {1, 2}


def test_a_version_of_a_name_is_fixed(store: LocalStore, digits: Bundle) -> None:
    catalogue = make_catalogue(store, "a@1")
    store.push(digits, "a")
    assert catalogue.read_plans() == {"a": DesiredState(1, frozenset({1}))}


def test_a_folder_wins_over_the_model_of_its_name(store: LocalStore, digits: Bundle) -> None:
    store.push(digits, "digits")
    store.push(digits, "digits")
    catalogue = make_catalogue(store, str(digits.folder))
    assert catalogue.read_plans()["digits"].default_version == 1
    model = catalogue.load("digits", 1)
    assert model.bundle.folder == digits.folder
    model.batcher.close()


def test_a_model_whose_state_cannot_be_read_holds_up_no_other(
    store: LocalStore, caplog: pytest.LogCaptureFixture
) -> None:
    (store.root / "a" / "aliases.json").write_text("{")
    assert set(make_catalogue(store).read_plans()) == {"b"}
    assert "a: cannot read its state" in caplog.text


def test_a_version_is_loaded_from_the_store(store: LocalStore) -> None:
    catalogue = make_catalogue(store)
    model = catalogue.load("b", 1)
    assert (model.name, model.version) == ("b", 1)
    assert model.bundle.folder == store.root / "b" / "1"
    model.batcher.close()
    with pytest.raises(VersionNotFound):
        catalogue.load("b", 2)


def test_failures_are_recorded_in_the_store(store: LocalStore) -> None:
    catalogue = make_catalogue(store)
    assert catalogue.read_failure("a", 1) == ""
    catalogue.record_failure("a", 1, "damaged")
    assert catalogue.read_failure("a", 1) == "damaged"
    assert store.read_failure("a", 1) == "damaged"
    catalogue.record_failure("a", 1, None)
    assert catalogue.read_failure("a", 1) == ""


def test_a_fixed_model_leaves_no_record_in_the_store(store: LocalStore) -> None:
    make_catalogue(store, "a@1").record_failure("a", 1, "damaged")
    assert store.read_failure("a", 1) is None


def test_models_made_here_are_served_whatever_was_named(
    store: LocalStore, digits: Bundle, tmp_path: Path
) -> None:
    store.push(digits, "made")
    store.record_data("made", 1, tmp_path / "collections" / "1" / "pictures")
    store.record_data("b", 1, tmp_path / "elsewhere")
    given = [resolve_bundle("a", store.root)]
    root = tmp_path / "collections"
    catalogue = Catalogue(store.root, ["a"], given, Overrides(), LoadOptions(), collections=root)
    assert set(catalogue.read_plans()) == {"a", "made"}
