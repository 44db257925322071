"""WikiText-103: articles of Wikipedia to learn a language from, and others to test it on.

The files are those of the raw version, in which no word is missing. What their tokenization
separated is joined again.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from modelpad.datasets.catalogue import WIKITEXT, require_file
from modelpad.datasets.dataset import DataSet
from modelpad.datasets.inputs import Texts
from modelpad.datasets.split import Split
from modelpad.datasets.text_folder import read_text
from modelpad.errors import DataSetInvalid

TITLE = re.compile(r"^ = [^=\n]+ = $", re.MULTILINE)
HEADING = re.compile(r"^ ?((?:= )+)(.*?)(?: =)+ ?$", re.MULTILINE)
JOINED = re.compile(r" @([-,.])@ ")  # within words and numbers
BEFORE = re.compile(r" ([,.;:!?%)\]]|'(?:s|t|re|ve|ll|d|m)\b)")
AFTER = re.compile(r"([(\[$£]) ")
QUOTED = re.compile(r'" ([^"\n]*?) "')
SPACES = re.compile(r" *\n *")


def load_wikitext(folder: Path) -> DataSet:
    """The articles in `folder`; those for validation are left alone.

    Raises DataSetNotFound, naming the file that is missing, and DataSetInvalid for one without
    articles.
    """
    files = [require_file(WIKITEXT, folder, name) for name in ("wiki.train.raw", "wiki.test.raw")]
    train, test = (read_split(path) for path in files)
    return DataSet(
        name=WIKITEXT.name,
        title=WIKITEXT.title,
        licence=WIKITEXT.licence,
        source=WIKITEXT.source,
        classes=(),
        train=train,
        test=test,
        task="unlabelled",
        location=folder,
        files=tuple(files),
    )


def read_split(path: Path) -> Split:
    """The articles in a file. Raises DataSetInvalid if there are none."""
    text = read_text(path)
    starts = [found.start() for found in TITLE.finditer(text)]
    if not starts:
        raise DataSetInvalid(
            f"{path} has no titles of articles, such as ' = Robert Boulter = '.",
            hint="Use the file as it was published.",
            path=str(path),
        )
    parts = zip(starts, [*starts[1:], len(text)], strict=True)
    articles = tuple(join_words(text[start:stop]) for start, stop in parts)
    return Split(Texts(articles), np.zeros((len(articles), 0), np.float32))


def join_words(text: str) -> str:
    """An article as it was written, as far as its tokenized form tells."""
    text = HEADING.sub(lambda found: found[2], text)
    text = JOINED.sub(r"\1", text)
    text = QUOTED.sub(r'"\1"', text)
    text = AFTER.sub(r"\1", BEFORE.sub(r"\1", text))
    return SPACES.sub("\n", text).strip()
