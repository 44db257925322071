"""The texts of the reviews recipe as tokens of the language model that they start from."""

from __future__ import annotations

from dataclasses import dataclass

from modelpad.errors import UsageError
from modelpad.recipes.reviews import ReviewsOptions
from modelpad.recipes.text.fitting import Adaptation, Labelled
from modelpad.recipes.text.network import LanguageModel, Shape
from modelpad.recipes.text.pretrained import Pretrained, load_pretrained
from modelpad.recipes.text.splits import (
    LabelledSplits,
    LabelledTexts,
    describe_texts,
    read_texts,
    without,
)
from modelpad.recipes.text.tokens import VOCABULARY, encode, load_tokenizer, train_tokenizer
from modelpad.training.card import DataRow
from modelpad.training.run import Run

NONE = "none"
ADAPTED = 1  # passes over texts that the language model does not know


@dataclass(frozen=True, slots=True)
class Start:
    """What a classifier begins as, with its tokenizer; `adaptation` of it comes first, if any."""

    language: LanguageModel
    tokenizer: str
    adaptation: Adaptation | None
    pretrained: Pretrained | None


def choose_start(options: ReviewsOptions, splits: LabelledSplits, run: Run) -> Start:
    """The language model that the options name, or a new one.

    Raises UsageError for a negative --adapt; else as `load_pretrained`.
    """
    if options.adapt is not None and options.adapt < 0:
        raise UsageError(f"--adapt is {options.adapt}.", hint="Give 0 or more passes.")
    pretrained = None
    if options.from_ == NONE:
        content = train_tokenizer(splits.train.texts, VOCABULARY).to_str()
        vocabulary = load_tokenizer(content).get_vocab_size()
        language = LanguageModel(Shape(vocabulary=vocabulary))
    else:
        pretrained = load_pretrained(options.from_, run.request.store)
        content, language = pretrained.tokenizer, pretrained.build()
    known = pretrained is not None and pretrained.data == splits.data.name
    passes = (0 if known else ADAPTED) if options.adapt is None else options.adapt
    adaptation = None
    if passes:
        corpus = encode(load_tokenizer(content), list_texts(splits))
        adaptation = Adaptation(language, corpus, passes)
    return Start(language, content, adaptation, pretrained)


def list_texts(splits: LabelledSplits) -> list[str]:
    """All texts to model: those for training and those without a label, but none of the test's."""
    texts = list(splits.train.texts)
    if splits.data.unlabelled is not None:
        texts += read_texts(splits.data, splits.data.unlabelled)
    return without(texts, splits.test.texts) or texts


def encode_labelled(tokenizer: str, part: LabelledTexts) -> Labelled:
    """Labelled texts as tokens."""
    return Labelled(encode(load_tokenizer(tokenizer), part.texts), part.labels)


def describe_sources(splits: LabelledSplits, start: Start) -> tuple[DataRow, ...]:
    """The card's entries for the data."""
    rows = [describe_texts(splits)]
    if start.pretrained is not None:
        before = start.pretrained
        name = f"what the language model {before.name} was trained on: {before.data}"
        rows.append(DataRow(name, 0, before.licence, "the language model that it starts from"))
    return tuple(rows)
