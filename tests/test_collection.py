"""Collections: pictures in classes, bounded, whole at any moment, each with an owner."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelpad.collection import Collection, CollectionLimits, Collections, check_class
from modelpad.datasets.class_folders import survey_folder
from modelpad.errors import CollectionFull, InvalidInput, NotFound


def png(number: int) -> bytes:
    return b"\x89PNG" + bytes([number])


@pytest.fixture
def collections(tmp_path: Path) -> Collections:
    limits = CollectionLimits(collections=2, pictures=4, bytes=100, keep_s=1000.0)
    return Collections(tmp_path / "collections", limits)


@pytest.fixture
def collection(collections: Collections) -> Collection:
    return collections.create("ann")


def test_the_classes_are_a_data_set(collection: Collection, tmp_path: Path) -> None:
    for number, name in enumerate(("train", "test", "train")):  # names of splits, too
        collection.add(name, png(number))
    collection.copy_to(tmp_path / "copy")
    collection.add("test", png(9))
    layout = survey_folder(tmp_path / "copy")
    assert layout.classes == ("test", "train")
    assert [len(files) for files in layout.train] == [1, 2]
    assert layout.test is None


def test_pictures_are_kept_once(collection: Collection) -> None:
    first = collection.add("cat", png(1))
    assert collection.add("cat", png(1)) == first
    with pytest.raises(InvalidInput, match="in the class 'cat' already"):
        collection.add("dog", png(1))
    assert collection.read(first) == png(1)
    collection.remove(first)
    assert collection.classes() == {}
    for gone in (first, "../../owner", "owner"):
        with pytest.raises(NotFound):
            collection.read(gone)


def test_limits(collections: Collections, collection: Collection) -> None:
    for number in range(4):
        collection.add("cat", png(number))
    with pytest.raises(CollectionFull, match="at most 4 pictures"):
        collection.add("cat", png(9))
    second = collections.create("bob")
    with pytest.raises(CollectionFull):
        second.add("cat", b"\x89PNG" + bytes(100))
    with pytest.raises(CollectionFull, match="at most 2 collections"):
        collections.create("bob")
    os.utime(second.folder, (0, 0))
    collections.create("bob")
    assert not second.folder.exists()


def test_collections_belong_to_their_owner(
    collections: Collections, collection: Collection
) -> None:
    assert collections.open(collection.id, "ann").folder == collection.folder
    assert [each.id for each in collections.owned("ann")] == [collection.id]
    assert collections.owned("bob") == []
    for id, owner in ((collection.id, "bob"), ("..", "ann"), ("", "ann")):
        with pytest.raises(NotFound):
            collections.open(id, owner)


def test_classes_are_renamed(collection: Collection) -> None:
    item = collection.add("cat", png(1))
    collection.add("dog", png(2))
    collection.rename("cat", " lion ")
    assert collection.classes()["lion"] == [item]
    with pytest.raises(InvalidInput, match="a class 'dog' already"):
        collection.rename("lion", "dog")
    with pytest.raises(NotFound):
        collection.rename("cat", "tiger")


@pytest.mark.parametrize("name", ["", " ", "a/b", "a\\b", "..", ".a", "a.", "nul", "a\nb", "%2f"])
def test_names_that_no_folder_should_have(name: str) -> None:
    with pytest.raises(InvalidInput, match="A class cannot be called"):
        check_class(name)


def test_names_are_the_same_however_they_are_typed() -> None:
    assert check_class(" e\N{COMBINING ACUTE ACCENT} ") == "\N{LATIN SMALL LETTER E WITH ACUTE}"
