"""The writer recipe: its definition and options.

`recipe` trains a language model in PyTorch, `data` divides the texts, `model` chooses its size;
what it shares with other recipes for text is in `recipes/text`. This module imports none of them,
so that `--help` stays fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from modelpad.training.options import OptimizerOptions, option
from modelpad.training.ranges import Range, Space
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
    optimizer: OptimizerOptions = OptimizerOptions()
    no_baseline: bool = option(False, "do not compare with a 5-gram of the same texts")


def search_space(options: WriterOptions) -> Space:
    """What a search tries; a wider network is better, and slower, as a rule."""
    return {
        "learning_rate": Range(5e-4, 2e-2, log=True),
        "batch_size": Range(4, 64, log=True),
        "weight_decay": Range(1e-3, 0.5, log=True),
    }


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
    search_space=search_space,
    judged_by="val_bits_per_byte",
    data_parallel=True,
)
