"""Which version of a model a request gets, and which names are served."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from modelpad.errors import ModelNotFound, VersionNotFound
from modelpad.server.model_table import ModelTable, ServedVersions


def make_model(name: str, version: int, *, full: bool = False) -> Any:
    batcher = SimpleNamespace(is_full=full)
    return SimpleNamespace(name=name, version=version, batcher=batcher)


def serve(name: str = "digits", **options: Any) -> ServedVersions:
    versions = {version: make_model(name, version) for version in (1, 2, 3)}
    return ServedVersions(name, versions, 2, **options)


@pytest.fixture
def table() -> ModelTable:
    made = ModelTable([make_model("mix", 7)])
    made.put(serve(aliases={"best": 1}, shadow=3))
    return made


def test_a_name_means_its_default_version(table: ModelTable) -> None:
    assert table.find("digits").version == 2
    assert [(model.name, model.version) for model in table] == [("mix", 7), ("digits", 2)]


def test_the_newest_of_several_versions_is_the_default() -> None:
    table = ModelTable([make_model("net", 4), make_model("net", 12), make_model("net", 5)])
    assert table.find("net").version == 12
    assert table.find("net", "4").version == 4


@pytest.mark.parametrize(("version", "number"), [("3", 3), ("best", 1), ("latest", 3)])
def test_a_version_is_a_number_or_an_alias(table: ModelTable, version: str, number: int) -> None:
    assert table.find("digits", version).version == number


@pytest.mark.parametrize("version", ["4", "0", "nothing", "9" * 50])
def test_an_unknown_version_lists_those_there_are(table: ModelTable, version: str) -> None:
    with pytest.raises(VersionNotFound) as caught:
        table.find("digits", version)
    assert caught.value.details["known"] == [1, 2, 3]


@pytest.mark.parametrize("name", ["", "digit", "x" * 1000])
def test_an_unknown_name_lists_those_there_are(table: ModelTable, name: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        table.find(name)
    assert caught.value.details["known"] == ["digits", "mix"]
    assert len(str(caught.value)) < 300


def test_traffic_is_split_and_sticky() -> None:
    served = serve(traffic={1: 25, 3: 75})
    counts = Counter(served.choose(str(key)).version for key in range(1000))
    assert set(counts) == {1, 3}
    assert 200 < counts[1] < 300
    assert len({served.choose("someone").version for _ in range(50)}) == 1


def test_only_one_model_needs_no_name(table: ModelTable) -> None:
    with pytest.raises(ModelNotFound, match="2 models"):
        table.find_only()
    assert table.get("") is None
    table.remove("mix")
    assert table.find_only().version == 2
    assert table.get("") is table.served["digits"]
    table.remove("digits")
    with pytest.raises(ModelNotFound, match="No model"):
        table.find_only()


def test_the_shadow_copies_every_other_version(table: ModelTable) -> None:
    shadow = table.find_shadow(table.find("digits"))
    assert shadow is not None
    assert shadow.version == 3
    assert table.find_shadow(table.find("digits", "3")) is None
    assert table.find_shadow(table.find("mix")) is None


def test_labels_are_names_that_exist(table: ModelTable) -> None:
    assert [table.label(name) for name in ("digits", "x", "")] == ["digits", "", ""]
    table.remove("mix")
    assert table.label("") == "digits"


def test_a_model_is_full_when_each_of_its_versions_is() -> None:
    versions = {1: make_model("a", 1, full=True), 2: make_model("a", 2)}
    assert not ServedVersions("a", versions, 1).is_full
    versions[2] = make_model("a", 2, full=True)
    assert ServedVersions("a", versions, 1).is_full
