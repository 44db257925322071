"""WikiText-103: articles, put together again."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelpad.datasets import load_data
from modelpad.datasets.wikitext import join_words
from modelpad.errors import DataSetInvalid, DataSetNotFound

DU_FU = (
    "= Du Fu =",
    "",
    'Du Fu was a " great " poet ( 712 – 770 ) ; he \'s read by 1 @,@ 400 @-@ odd scholars .',
    "",
    "= = Life = =",
    "",
    "It didn 't last : see Li Bai , too .",
)
BISMARCK = ("", "= Bismarck @-@ class battleship =", "", "It cost $ 3 @.@ 5 million , or more .")


def tokenized(*lines: str) -> str:
    """The lines with spaces around them, as they are published."""
    return "".join(f" {line} \n" for line in lines)


def write(root: Path, *, train: str = "", with_test: bool = True) -> Path:
    folder = root / "wikitext-103"
    folder.mkdir(parents=True)
    (folder / "wiki.train.raw").write_text(train or tokenized(*DU_FU, *BISMARCK), "utf-8")
    if with_test:
        (folder / "wiki.test.raw").write_text(tokenized(*BISMARCK), "utf-8")
    return root


def test_articles_are_divided_and_joined(tmp_path: Path) -> None:
    data = load_data("wikitext-103", roots=[write(tmp_path)])
    assert data.test is not None
    assert (len(data.train), len(data.test), data.task) == (2, 1, "unlabelled")
    assert data.licence == "CC BY-SA 3.0"
    assert data.test[0].input == "Bismarck-class battleship\n\nIt cost $3.5 million, or more."


def test_words_are_joined_as_they_were_written() -> None:
    assert join_words(tokenized(*DU_FU)).splitlines() == [
        "Du Fu",
        "",
        'Du Fu was a "great" poet (712 – 770); he\'s read by 1,400-odd scholars.',
        "",
        "Life",
        "",
        "It didn't last: see Li Bai, too.",
    ]


def test_files_that_are_missing_or_others_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataSetNotFound, match=r"no wiki\.test\.raw"):
        load_data("wikitext-103", roots=[write(tmp_path / "one", with_test=False)])
    with pytest.raises(DataSetInvalid, match="no titles of articles"):
        load_data("wikitext-103", roots=[write(tmp_path / "two", train="a text")])
