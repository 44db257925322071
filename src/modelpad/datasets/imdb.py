"""The Large Movie Review Dataset: labelled reviews for training and testing, and others without.

Line breaks, which the reviews have as HTML, become line breaks.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from modelpad.datasets.catalogue import IMDB, require_file
from modelpad.datasets.dataset import DataSet
from modelpad.datasets.inputs import Texts
from modelpad.datasets.options import LoadOptions, TableOptions
from modelpad.datasets.split import Split
from modelpad.datasets.table import load_table

COLUMNS = LoadOptions(table=TableOptions("text", ("label",), "classification"))
UNLABELLED = LoadOptions(table=TableOptions("text", (), "unlabelled"))
CLASSES = {"neg": "negative", "pos": "positive"}  # whose names the files shorten
BREAKS = re.compile(r"\s*(?:<br\s*/?>\s*)+", re.IGNORECASE)
FILES = ("train.jsonl.gz", "test.jsonl.gz", "unsup.jsonl.gz")


def load_imdb(folder: Path) -> DataSet:
    """The reviews in `folder`. Raises DataSetNotFound, naming the file that is missing."""
    train, test, others = (require_file(IMDB, folder, name) for name in FILES)
    data = load_table(train, test, COLUMNS)
    unlabelled = load_table(others, options=UNLABELLED)
    assert data.test is not None
    return replace(
        data,
        classes=tuple(CLASSES.get(name, name) for name in data.classes),
        train=clean_split(data.train),
        test=clean_split(data.test),
        unlabelled=clean_split(unlabelled.train),
        files=(train, test, others),
    )


def clean_split(split: Split) -> Split:
    """A split of texts with real line breaks."""
    texts = Texts(tuple(break_lines(str(text)) for text, _ in split))
    return Split(texts, split.targets, split.names, split.groups)


def break_lines(text: str) -> str:
    """A text whose HTML line breaks are real ones: two or more of them end a paragraph."""
    return BREAKS.sub(lambda found: "\n\n" if found[0].count("<") > 1 else "\n", text).strip()
