"""Samples of the user's own: files and values that are unusual, damaged, or do not fit."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelpad.convert.plans import InputPlan
from modelpad.convert.samples.files import load_samples
from modelpad.convert.samples.objects import wrap_samples
from modelpad.convert.source import TensorSpec
from modelpad.errors import UsageError
from modelpad.fields import Field, Image, Number, Tensor, Text

ROWS = np.array([[1.0, 2.0], [3.0, 4.0]])


def plan(*fields: Field) -> list[InputPlan]:
    """Each field with a tensor of its own."""
    return [InputPlan(each, TensorSpec(each.name, "float32", (None,))) for each in fields]


def write_npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def write_npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


TABLE = [
    InputPlan(Number(name), TensorSpec("x", "float32", (None, 2)), column=column)
    for column, name in enumerate("ab")
]
TENSOR = plan(Tensor("x", "float32", (2,)))
TEXT = plan(Text("text"))


@pytest.mark.parametrize(
    ("name", "body", "plans", "expected"),
    [
        ("a.npz", write_npz(x=ROWS), TENSOR, [{"x": [1.0, 2.0]}, {"x": [3.0, 4.0]}]),
        ("a.npy", write_npz(x=ROWS), TENSOR, [{"x": [1.0, 2.0]}, {"x": [3.0, 4.0]}]),
        ("a.npz", write_npy(ROWS), TENSOR, [{"x": [1.0, 2.0]}, {"x": [3.0, 4.0]}]),
        ("a.npy", write_npy(ROWS), TABLE, [{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 4.0}]),
        ("a.csv", b"\xef\xbb\xbf1,2\n3,4\n", TENSOR, [{"x": [1.0, 2.0]}, {"x": [3.0, 4.0]}]),
        ("a.csv", b"p,q\n1,2\n", TENSOR, [{"x": [1.0, 2.0]}]),
        ("a.csv", b"b,target,a\n2,yes,1\n", TABLE, [{"a": 1.0, "b": 2.0}]),
        ("a.txt", b"\xef\xbb\xbfone\r\n\r\ntwo", TEXT, [{"text": "one"}, {"text": "two"}]),
        ("a.jsonl", '{"text": "a\u2028b"}\n"c\x85d"'.encode(), TEXT, ["a\u2028b", "c\x85d"]),
    ],
)
def test_a_file_is_read(
    tmp_path: Path, name: str, body: bytes, plans: list[InputPlan], expected: list[Any]
) -> None:
    (tmp_path / name).write_bytes(body)
    wanted = [{"text": each} if isinstance(each, str) else each for each in expected]
    assert load_samples(tmp_path / name, plans) == wanted


@pytest.mark.parametrize(
    ("name", "body", "plans", "message"),
    [
        ("a.npy", b"", TENSOR, "empty or damaged"),
        ("a.npz", b"", TENSOR, "empty or damaged"),
        ("a.npz", b"PK\x03\x04 and no more", TENSOR, "empty or damaged"),
        ("a.npz", write_npz(x=ROWS)[:200], TENSOR, "empty or damaged"),
        ("a.npy", write_npy(ROWS)[:140], TENSOR, "cannot be read"),
        ("a.npy", write_npy(np.float32(3)), TENSOR, "is a single value"),
        ("a.npz", write_npz(a=np.zeros((3, 0)), b=np.zeros(3)), TABLE, "for a has 0 values"),
        ("a.npz", write_npz(a=np.zeros((3, 2)), b=np.zeros(3)), TABLE, "for a has 2 values"),
        ("a.npz", write_npz(a=np.zeros(3)), plan(Number("a"), Number("b")), "no array 'b'"),
        ("a.csv", b'"' + b"1" * 200_000 + b'"\n', TENSOR, "field larger than field limit"),
        ("a.csv", b"1,2\n3,x\n", TENSOR, "could not convert"),
        ("a.csv", b"a\n1\n", TABLE, r"Missing columns: 'b'\.\nSupp"),
        ("a.json", b"[" * 10_000, TENSOR, "nested"),
        ("a.txt", b"\xff\xfe", TEXT, "'utf-8' codec"),
        ("a.png", b"", TENSOR, "for a model with a single input"),
        ("a.bin", b"1", TENSOR, "There are no samples"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    tmp_path: Path, name: str, body: bytes, plans: list[InputPlan], message: str
) -> None:
    (tmp_path / name).write_bytes(body)
    with pytest.raises(UsageError, match=message):
        load_samples(tmp_path / name, plans)


def test_rows_of_a_frame_are_taken_by_position() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.0, 2.0, 3.0], "b": [4.0, 5.0, 6.0], "other": [0, 0, 0]})
    chosen = frame.loc[[2, 1]]  # as train_test_split leaves them
    assert wrap_samples(chosen, TABLE) == [{"a": 3.0, "b": 6.0}, {"a": 2.0, "b": 5.0}]
    columns = {"a": chosen["a"], "b": chosen["b"]}
    assert wrap_samples(columns, TABLE) == wrap_samples(chosen, TABLE)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (lambda folder: [folder / "none.png"], "none.png cannot be read"),
        (lambda _: [np.zeros((3, 8, 9), np.uint8)], r"has shape \[3, 8, 9\]"),
        (lambda _: [np.uint8(3)], r"has shape \[\]"),
        (lambda _: 3, "are not a sequence"),
        (lambda _: [], "the same number of values"),
    ],
)
def test_pictures_that_are_none_are_refused(
    tmp_path: Path, values: Callable[[Path], object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        wrap_samples(values(tmp_path), plan(Image("picture")))
