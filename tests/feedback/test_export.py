"""Corrections as class folders and CSV."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpad.datasets import load_data
from modelpad.errors import InvalidInput, StoreError
from modelpad.feedback import (
    Correction,
    FeedbackStore,
    Item,
    export_feedback,
    find_label,
    make_item,
    restore_values,
)
from modelpad.feedback.export import name_folder
from modelpad.fields import Image, Label, Score, Signature, Tensor, Text
from tests.table_bundles import LOAN, PRICE

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> FeedbackStore:
    made = FeedbackStore(tmp_path / "f.sqlite")
    made.create()
    return made


def encode_picture(value: int) -> bytes:
    import numpy as np

    return Image(height=None, width=None).encode_png(np.full((9, 9, 3), value, np.float32))


def test_pictures_become_class_folders_that_can_be_loaded(
    store: FeedbackStore, tmp_path: Path
) -> None:
    for value, label in ((0, "a/b"), (50, "a/b"), (100, "plain")):
        item = make_item((Image("image"),), {"image": encode_picture(value)})
        store.add(Correction("m", 2, item, "plain", label), NOW)
    target = tmp_path / "out"
    assert export_feedback(store.items("m"), target) == 3
    assert sorted(path.name for path in target.iterdir()) == ["a%2Fb", "labels.csv", "plain"]
    data = load_data(target)
    assert data.count_classes(data.train) == {"a%2Fb": 2, "plain": 1}
    exact = load_data(target / "labels.csv")
    assert exact.classes == ("a/b", "plain")
    with pytest.raises(StoreError, match="already exists"):
        export_feedback(store.items(), target)


def test_rows_and_texts_become_csv(store: FeedbackStore, tmp_path: Path) -> None:
    form = make_item(LOAN.inputs, {"income (k)": "30", "age": b"", "city": "Bern"})
    plain = make_item(LOAN.inputs, {"city": "Bern", "income (k)": 30, "age": None})
    assert form == plain, "a form and JSON of the same values are the same item"
    store.add(Correction("loan", 1, form, "reject", "accept", "said, why"), NOW)
    text = make_item((Text("label"),), {"label": 'say "no"\n, or\r'})
    store.add(Correction("mood", 1, text, "sad", "glad"), NOW)
    assert export_feedback(store.items("loan"), tmp_path / "loan") == 1
    assert export_feedback(store.items("mood"), tmp_path / "mood") == 1
    with (tmp_path / "loan" / "corrections.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["income (k)"], row["age"], row["city"]) == ("30.0", "", "Bern")
    assert (row["label"], row["predicted"], row["version"]) == ("accept", "reject", "1")
    assert row["note"] == "said, why"
    with (tmp_path / "mood" / "corrections.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["label"], row["feedback_label"]) == ('say "no"\n, or\r', "glad")


def test_items_become_values_again() -> None:
    pixels = Signature((Image("a"), Tensor("b", "float32", (2,))), (Score("c"),))
    sent: dict[str, object] = {"a": encode_picture(3), "b": [1, 2]}
    item = make_item(pixels.inputs, sent)
    values = restore_values(pixels.inputs, item)
    assert values["b"] == [1, 2]
    assert (Image("a").decode(values["a"]) == 3).all()
    single = make_item((Image("a"),), {"a": values["a"]})
    assert single == Item("image/png", encode_picture(3))


def test_a_failed_export_leaves_nothing(store: FeedbackStore, tmp_path: Path) -> None:
    store.add(Correction("m", 1, Item("application/json", b"[damaged"), "a", "b"), NOW)
    with pytest.raises(StoreError, match="not JSON"):
        export_feedback(store.items(), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".f.sqlite.lock", "f.sqlite"]


@pytest.mark.parametrize(
    ("label", "folder"),
    [
        ("rose", "rose"),
        ("Zürich West", "Zürich West"),
        ("../../etc", "%2E.%2F..%2Fetc"),
        (".hidden", "%2Ehidden"),
        ("__init__", "%5F_init__"),
        ("", "%"),
        ("100%", "100%25"),
        ("aux", "%61ux"),
        ("dot.", "dot%2E"),
        ("a\0b", "a%00b"),
    ],
)
def test_labels_are_safe_as_folders(label: str, folder: str) -> None:
    assert name_folder(label) == folder


@given(st.sets(st.text(max_size=200), max_size=5))
def test_different_labels_have_different_folders(labels: set[str]) -> None:
    folders = {name_folder(label) for label in labels}
    assert len(folders) == len(labels)
    for folder in folders:
        assert Path(folder).name == folder
        assert folder not in (".", "..")
        assert len(folder.encode("utf-8", "replace")) <= 255


def test_only_models_with_one_label_can_be_corrected() -> None:
    assert find_label(LOAN).classes == ("reject", "accept")
    two = Signature((Text("t"),), (Label("a", ("x", "y")), Label("b", ("x", "y"))))
    for other in (PRICE, two):
        with pytest.raises(InvalidInput, match="one label"):
            find_label(other)
