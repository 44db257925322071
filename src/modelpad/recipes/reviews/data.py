"""The texts of the reviews recipe as tokens of the model that is started from."""

from __future__ import annotations

from dataclasses import dataclass

from modelpad.errors import UsageError
from modelpad.recipes.reviews import ReviewsOptions
from modelpad.recipes.text.fitting import Adaptation
from modelpad.recipes.text.labelled import Labelled
from modelpad.recipes.text.network import Classifier, LanguageModel, Shape
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
    """What a classifier begins as, with its tokenizer; `adaptation` of it comes first, if any.

    `continues`: it is a classifier of the same classes already.
    """

    net: LanguageModel | Classifier
    tokenizer: str
    adaptation: Adaptation | None
    pretrained: Pretrained | None
    continues: bool = False


def choose_start(options: ReviewsOptions, splits: LabelledSplits, run: Run) -> Start:
    """The model that the options name, or a new language model.

    Raises UsageError for an --adapt that is negative, or that a classifier was given; else as
    `load_pretrained`.
    """
    if options.adapt is not None and options.adapt < 0:
        raise UsageError(f"--adapt is {options.adapt}.", hint="Give 0 or more passes.")
    if options.from_ == NONE:
        content = train_tokenizer(splits.train.texts, VOCABULARY).to_str()
        vocabulary = load_tokenizer(content).get_vocab_size()
        language = LanguageModel(Shape(vocabulary=vocabulary))
        return Start(language, content, plan_adaptation(options, splits, language, content), None)
    pretrained = load_pretrained(options.from_, run.request.store)
    net, content = pretrained.build(), pretrained.tokenizer
    if isinstance(net, Classifier):
        if options.adapt:
            raise UsageError(
                f"--adapt does not apply to {pretrained.name}, which is a classifier.",
                hint="Leave --adapt out, or start from a language model.",
            )
        return Start(net, content, None, pretrained, pretrained.classes == splits.data.classes)
    known = pretrained.data == splits.data.name
    return Start(net, content, plan_adaptation(options, splits, net, content, known), pretrained)


def plan_adaptation(
    options: ReviewsOptions,
    splits: LabelledSplits,
    language: LanguageModel,
    tokenizer: str,
    known: bool = False,
) -> Adaptation | None:
    """How a language model learns the texts first; by default not those that it knows."""
    passes = (0 if known else ADAPTED) if options.adapt is None else options.adapt
    if not passes:
        return None
    return Adaptation(language, encode(load_tokenizer(tokenizer), list_texts(splits)), passes)


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
        kind = "classifier" if before.classes else "language model"
        name = f"what the {kind} {before.name} was trained on: {before.data}"
        rows.append(DataRow(name, 0, before.licence, f"the {kind} that it starts from"))
    return tuple(rows)
