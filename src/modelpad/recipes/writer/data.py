"""The texts of the writer recipe as tokens: the data, and general text to learn from before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from modelpad.datasets import DataSet, LoadOptions, TableOptions, load_data
from modelpad.errors import DataSetNotFound, UsageError
from modelpad.recipes.text.fitting import Corpora
from modelpad.recipes.text.splits import TextSplits, load_texts, read_texts, take_some
from modelpad.recipes.text.tokens import MAX_VOCABULARY, Corpus, encode, train_tokenizer
from modelpad.recipes.writer import WriterOptions
from modelpad.training.card import DataRow
from modelpad.training.run import Run

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MIN_VOCABULARY = 300  # 256 bytes, the start token, and a few more
NONE = "none"
DEFAULT_GENERAL = "wikipedia"


@dataclass(frozen=True, slots=True)
class WriterData:
    """Texts as tokens, with their tokenizer; `sources` and `notes` are for the card."""

    data: DataSet
    tokenizer: Tokenizer
    corpora: Corpora
    test: Corpus
    sources: tuple[DataRow, ...]
    notes: tuple[str, ...]


def load_writer_data(options: WriterOptions, run: Run) -> WriterData:
    """Reads the texts, trains the tokenizer on those for training, and encodes all of them.

    Raises UsageError for an impossible vocabulary, DataSetInvalid for data without texts.
    """
    if not MIN_VOCABULARY <= options.vocabulary <= MAX_VOCABULARY:
        raise UsageError(
            f"--vocabulary is {options.vocabulary}.",
            hint=f"Give {MIN_VOCABULARY} to {MAX_VOCABULARY:,}; 8192 is usual.",
        )
    splits = load_texts(run, options.text_column)
    general, notes = load_general(options, run, splits)
    texts = [] if general is None else read_texts(general, general.train)
    texts = take_some(texts, run.request.limit, np.random.default_rng([run.seed, 2]))
    tokenizer = train_tokenizer([*splits.train, *texts], options.vocabulary)
    run.print(
        f"{splits.data.name}: {len(splits.train):,} texts for training, {len(splits.validation):,}"
        f" for validation, {len(splits.test):,} for testing;"
        f" a vocabulary of {tokenizer.get_vocab_size():,} tokens."
    )
    corpora = Corpora(
        encode(tokenizer, splits.train),
        encode(tokenizer, splits.validation),
        encode(tokenizer, texts) if texts else None,
    )
    sources = [describe_texts(splits)]
    if general is not None:
        role = "language modelling, before the other texts"
        sources.append(DataRow(general.title, len(texts), general.licence, role))
    return WriterData(
        splits.data,
        tokenizer,
        corpora,
        encode(tokenizer, splits.test),
        tuple(sources),
        (*splits.notes, *notes),
    )


def load_general(
    options: WriterOptions, run: Run, splits: TextSplits
) -> tuple[DataSet | None, list[str]]:
    """The data set of general text, and a note if there is none.

    Only the default one may be missing. Raises DataSetNotFound for another.
    """
    if options.general in (NONE, splits.data.name):
        return None, []
    request = run.request
    try:
        data = load_data(
            options.general,
            roots=request.roots,
            cache=request.cache,
            options=LoadOptions(table=TableOptions(options.text_column, (), "unlabelled")),
        )
    except DataSetNotFound:
        if options.general != DEFAULT_GENERAL:
            raise
        note = "Not trained on general text before: wikipedia was not available."
        run.print(note)
        return None, [note]
    return data, []


def describe_texts(splits: TextSplits) -> DataRow:
    """The card's entry for the data set."""
    counts = (len(splits.train), len(splits.validation), len(splits.test))
    role = "{:,} texts for training, {:,} for validation, {:,} for testing".format(*counts)
    return DataRow(splits.data.title, sum(counts), splits.data.licence, role)
