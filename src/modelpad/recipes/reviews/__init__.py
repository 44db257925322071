"""The reviews recipe: its definition and options.

`recipe` trains a classifier of texts on a language model's encoder, in PyTorch, `bag` a bag of
words; what they share with other recipes for text is in `recipes/text`. This module imports none of
them, so that `--help` stays fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modelpad.training.options import OptimizerOptions, option
from modelpad.training.ranges import Range, Space
from modelpad.training.recipe import Recipe

Switch = Literal["auto", "no"]
ArchitectureName = Literal["encoder", "bow"]


@dataclass(frozen=True, slots=True)
class ReviewsOptions:
    """The options of `modelpad train reviews` beyond those of every recipe."""

    arch: ArchitectureName = option(
        "encoder",
        "architecture: encoder, that of a language model; bow, a bag of words and pairs of words,"
        " learnt in seconds",
    )
    from_: str = option(
        "writer",
        "the model to start from: the name of a language model or classifier, the path of its"
        " bundle or run, or a Hugging Face folder such as BERT's; none starts from scratch",
        metavar="NAME_OR_PATH",
    )
    text_column: str | None = option(
        None, "the table's column of texts (default: text)", metavar="NAME"
    )
    label_column: str | None = option(
        None, "the table's column of classes (default: label or class)", metavar="NAME"
    )
    adapt: int | None = option(
        None,
        "passes of the language model over the texts before the classes are learnt"
        " (default: 1 if it was trained on other texts, else 0)",
        metavar="N",
    )
    quantize: Switch = option(
        "auto", "auto stores int8 weights if validation accuracy falls by less than 0.5 points"
    )
    phrases: Switch = option(
        "auto",
        "auto also weighs tokens, pairs and triples of them, beside the encoder, if that makes the"
        " log loss of the validation texts lower",
    )
    penalty: float | None = option(
        None, "bow: weight of the penalty on large weights (default: 20)", metavar="WEIGHT"
    )
    optimizer: OptimizerOptions = OptimizerOptions()
    no_baseline: bool = option(False, "do not compare with a bag of words")


def search_space(options: ReviewsOptions) -> Space:
    """What a search tries: a transformer needs far lower rates, and a bag of words none."""
    if options.arch == "bow":
        return {"penalty": Range(0.5, 500.0, log=True)}
    transformer = is_transformer(options.from_)
    return {
        "learning_rate": Range(5e-6, 2e-4, log=True)
        if transformer
        else Range(3e-4, 1e-2, log=True),
        "batch_size": Range(8, 64, log=True),
        "weight_decay": Range(1e-3, 0.3, log=True),
    }


def is_transformer(reference: str) -> bool:
    """Whether `--from` names a folder that `save_pretrained` of transformers wrote."""
    return (Path(reference).expanduser() / "config.json").is_file()


RECIPE = Recipe(
    name="reviews",
    summary="a classifier of texts, such as film reviews",
    extra="train",
    data_sets=("imdb", "a folder with one sub-folder of .txt files per class", "a table"),
    options=ReviewsOptions,
    train="modelpad.recipes.reviews.recipe:train",
    examples=(
        "modelpad train reviews",
        "modelpad train reviews --arch bow",
        "modelpad train reviews tickets.csv --text-column body --label-column team --name tickets",
        "modelpad train reviews ./mail --from runs/writer-mingru --name mail",
        "modelpad train reviews films.csv --from reviews --name films",
        "modelpad train reviews ./mail --from ./distilbert-base-uncased --name mail",
        "modelpad train reviews --resume",
    ),
    variant="arch",
    search_space=search_space,
    data_parallel=True,
)
