"""The digits recipe: its definition and options.

`recipe` trains a Keras model on PyTorch, `model` contains the architectures, `data` the splits.
This module imports none of them, so that `--help` stays fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from modelpad.training.options import KerasOptions, OptimizerOptions, option
from modelpad.training.ranges import Range, Space
from modelpad.training.recipe import Recipe

ArchitectureName = Literal["compact", "conv", "mini", "mlp"]


@dataclass(frozen=True, slots=True)
class DigitsOptions:
    """The options of `modelpad train digits` beyond those of every recipe."""

    arch: ArchitectureName = option(
        "compact",
        "architecture: compact is the most accurate, with 0.1 million parameters and batch"
        " normalisation; conv, mini and mlp are textbook networks",
    )
    no_unknown: bool = option(
        False, "label every image as one of the classes, without saying that it looks like none"
    )
    optimizer: OptimizerOptions = OptimizerOptions()
    keras: KerasOptions = KerasOptions()


def search_space(options: DigitsOptions) -> Space:
    """What a search tries: Adadelta, of `conv`, needs far higher rates than the others."""
    rate = Range(0.1, 3.0, log=True) if options.arch == "conv" else Range(3e-4, 3e-2, log=True)
    return {
        "learning_rate": rate,
        "batch_size": Range(16, 256, log=True),
        "weight_decay": Range(1e-4, 0.1, log=True),
    }


RECIPE = Recipe(
    name="digits",
    summary="handwritten digits, or small images in any classes",
    extra="train",
    data_sets=("mnist", "uci-digits", "a folder with one sub-folder of images per class"),
    options=DigitsOptions,
    train="modelpad.recipes.digits.recipe:train",
    examples=(
        "modelpad train digits",
        "modelpad train digits --arch conv --data mnist --epochs 12",
        "modelpad train digits --arch mini --data ./my-digits --name mine",
        "modelpad train digits --loss my_losses.py:focal --metric top_k_categorical_accuracy",
        "modelpad train digits --resume",
    ),
    variant="arch",
    search_space=search_space,
    data_parallel=True,
)
