"""The writer recipe: its definition and options.

`recipe` trains a language model in PyTorch, `data` divides the texts, `model` chooses its size;
what it shares with other recipes for text is in `recipes/text`. This module imports none of them,
so that `--help` stays fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from modelpad.training.options import option
from modelpad.training.recipe import Recipe

ArchitectureName = Literal["mingru", "lstm"]
Switch = Literal["auto", "no"]


@dataclass(frozen=True, slots=True)
class WriterOptions:
    """The options of `modelpad train writer` beyond those of every recipe."""

    arch: ArchitectureName = option(
        "mingru",
        "architecture: mingru, blocks with a linear recurrence, fast on CPUs; lstm, an AWD-LSTM",
    )
    text_column: str | None = option(
        None, "the table's column of texts (default: text)", metavar="NAME"
    )
    general: str = option(
        "wikipedia",
        "texts to learn from before the data, by name or path; none for none",
        metavar="NAME_OR_PATH",
    )
    vocabulary: int = option(8192, "tokens of the vocabulary, at most", metavar="N")
    width: int = option(512, "numbers in each hidden vector", metavar="N")
    quantize: Switch = option(
        "auto", "auto stores int8 weights if the texts become less than 1 % less likely"
    )
    no_baseline: bool = option(False, "do not compare with a 5-gram of the same texts")


RECIPE = Recipe(
    name="writer",
    summary="a language model that continues texts",
    extra="train",
    data_sets=("imdb", "a folder of .txt files", "a table with a column of texts"),
    options=WriterOptions,
    train="modelpad.recipes.writer.recipe:train",
    examples=(
        "modelpad train writer",
        "modelpad train writer --arch lstm --epochs 1",
        "modelpad train writer ./letters --name letters",
        "modelpad train writer tickets.csv --text-column body --general none",
        "modelpad train writer --resume",
    ),
    variant="arch",
)
