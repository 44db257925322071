"""Which columns are inputs and targets, and what the cells mean."""

from __future__ import annotations

import numpy as np
import pytest

from modelpad.datasets.columns import Columns, Plan, find_classes, plan_columns, read_targets
from modelpad.datasets.options import TableOptions
from modelpad.errors import DataSetInvalid


def test_usual_names_need_no_options() -> None:
    assert plan_columns(["id", "text", "label"], TableOptions()) == Plan(
        "text", ("label",), "classification"
    )
    assert plan_columns(["labels", "file_name"], TableOptions()) == Plan(
        "file_name", ("labels",), "multi-label"
    )
    assert plan_columns(["text", "target"], TableOptions()).task == "regression"
    assert plan_columns(["text", "title"], TableOptions()) == Plan("text", (), "unlabelled")


def test_named_columns_need_a_task_unless_their_name_is_usual() -> None:
    names = ["review", "stars", "label"]
    options = TableOptions("review", ("stars",), "regression")
    assert plan_columns(names, options) == Plan("review", ("stars",), "regression")
    with pytest.raises(DataSetInvalid, match="unclear"):
        plan_columns(names, TableOptions("review", ("stars",)))
    assert plan_columns(names, TableOptions("review", ("label",))).task == "classification"
    assert plan_columns(names, TableOptions("review", task="unlabelled")).target_columns == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (TableOptions(), "No column is called text"),
        (TableOptions("words"), "no column 'words'"),
        (TableOptions("a", ("b", "c"), "classification"), "one target column"),
        (TableOptions("a", (), "regression"), "no target column"),
    ],
)
def test_unclear_columns_are_listed(options: TableOptions, message: str) -> None:
    with pytest.raises(DataSetInvalid, match=message) as raised:
        plan_columns(["a", "b", "c"], options)
    assert "a, b, c" in raised.value.message


def test_classes_are_texts_or_whole_numbers() -> None:
    plan = Plan("text", ("label",), "classification")
    columns: Columns = {"label": [10, 9, 10, "9"], "text": ["a"] * 4}
    classes = find_classes(columns, plan)
    assert classes == ("9", "10")
    assert read_targets(columns, plan, classes).tolist() == [1, 0, 1, 0]
    for cell in ("", None, 1.5, ["a"]):
        with pytest.raises(DataSetInvalid, match="Row 2"):
            find_classes({"label": ["a", cell]}, plan)


def test_several_labels_come_from_one_column_or_several() -> None:
    one = Plan("text", ("labels",), "multi-label")
    columns: Columns = {"labels": ["cat|dog", "", ["dog"], "cat | emu"], "text": ["a"] * 4}
    classes = find_classes(columns, one)
    assert classes == ("cat", "dog", "emu")
    expected = [[1, 1, 0], [0, 0, 0], [0, 1, 0], [1, 0, 1]]
    assert read_targets(columns, one, classes).astype(int).tolist() == expected
    several = Plan("text", ("cat", "dog"), "multi-label")
    flags: Columns = {"cat": ["1", "0", True], "dog": ["no", "Yes", 0], "text": ["a"] * 3}
    classes = find_classes(flags, several)
    targets = read_targets(flags, several, classes)
    assert (classes, targets.dtype) == (("cat", "dog"), np.dtype(np.bool_))
    assert targets.astype(int).tolist() == [[1, 0], [0, 1], [1, 0]]
    with pytest.raises(DataSetInvalid, match="0 or 1"):
        read_targets({**flags, "dog": ["2", "0", "0"]}, several, classes)


def test_values_are_finite_numbers() -> None:
    plan = Plan("text", ("x", "y"), "regression")
    columns: Columns = {"x": ["1.5", "-2"], "y": [3, 4.25], "text": ["a", "b"]}
    targets = read_targets(columns, plan, ())
    assert targets.dtype == np.float32
    assert targets.tolist() == [[1.5, 3], [-2, 4.25]]
    for cell in ("nan", "inf", "many", "", None, 10**400, 1e300):
        with pytest.raises(DataSetInvalid, match="finite number"):
            read_targets({**columns, "x": ["1", cell]}, plan, ())


def test_a_class_only_in_test_is_an_error() -> None:
    plan = Plan("text", ("label",), "classification")
    with pytest.raises(DataSetInvalid, match="emu"):
        read_targets({"label": ["cat", "emu"], "text": ["a", "b"]}, plan, ("cat", "dog"))
