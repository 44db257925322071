"""How texts are divided: nothing is tested on what was learnt, and no class goes missing."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from modelpad.errors import DataSetInvalid
from modelpad.recipes.text.splits import hold_out_texts, load_labelled, load_texts
from modelpad.training.run import Run, TrainRequest


def start(data: Path, limit: int | None = None) -> Run:
    return Run(TrainRequest("m", str(data), data.parent / "m", limit=limit), {}, io.StringIO())


@pytest.mark.parametrize("size", [1200, 30_000])
def test_a_text_without_line_breaks_is_cut_so_that_some_is_held_out(
    size: int, tmp_path: Path
) -> None:
    text = " ".join(f"word{number}" for number in range(size))[:size]
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "one.txt").write_text(text, "utf-8")
    splits = load_texts(start(tmp_path / "book"), None)
    parts = (splits.train, splits.validation, splits.test)
    assert all(parts)
    assert sum(len(each) for part in parts for each in part) == size
    assert len({each for part in parts for each in part}) == sum(map(len, parts))


def test_a_single_piece_cannot_be_held_out() -> None:
    with pytest.raises(DataSetInvalid, match="only one piece"):
        hold_out_texts(["a"], 0.1, 9, np.random.default_rng(0))


def test_limited_texts_are_of_all_classes(tmp_path: Path) -> None:
    rows = [f"text {number},{'rare' if number < 8 else 'usual'}" for number in range(800)]
    (tmp_path / "texts.csv").write_text("\n".join(["text,label", *rows]), "utf-8")
    splits = load_labelled(start(tmp_path / "texts.csv", 20), None, None)
    for part in (splits.train, splits.validation, splits.test):
        assert np.bincount(part.labels).tolist() in ([1, 19], [19, 1])
