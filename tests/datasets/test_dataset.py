"""Classes and their counts, and targets that fit the task."""

from __future__ import annotations

import numpy as np
import pytest

from modelpad.datasets.dataset import DataSet
from modelpad.datasets.split import Split
from modelpad.errors import DataSetInvalid

IMAGES = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3)
LABELS = np.array([0, 1, 0, 1, 1])


def make_set(split: Split, **facts: object) -> DataSet:
    basics = {"name": "n", "title": "t", "licence": "l", "source": "s", "classes": ("a", "b")}
    return DataSet(**basics | {"train": split} | facts)  # type: ignore[arg-type]


def test_classes_are_counted_with_one_or_several_labels() -> None:
    one = make_set(Split(IMAGES, LABELS))
    assert one.count_classes(one.train) == {"a": 2, "b": 3}
    flags = np.array([[1, 1], [0, 1], [0, 0], [1, 0], [0, 1]], np.bool_)
    several = make_set(Split(IMAGES, flags), task="multi-label")
    assert several.count_classes(several.train) == {"a": 2, "b": 3}
    with pytest.raises(DataSetInvalid, match="one class each"):
        _ = several.train.labels


def test_values_have_a_column_each() -> None:
    values = np.ones((5, 2), np.float32)
    data = make_set(
        Split(IMAGES, values), task="regression", classes=(), value_names=("height", "weight")
    )
    assert data.count_classes(data.train) == {}
    with pytest.raises(DataSetInvalid, match="columns"):
        make_set(Split(IMAGES, values), task="regression", classes=(), value_names=("height",))


@pytest.mark.parametrize("labels", [[0, 1, 2, 0, 1], [-1, 0, 1, 0, 1]])
def test_a_label_outside_the_classes_is_an_error(labels: list[int]) -> None:
    with pytest.raises(DataSetInvalid, match="but 2 classes"):
        make_set(Split(IMAGES, np.array(labels)))
