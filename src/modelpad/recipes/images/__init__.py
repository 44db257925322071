"""The images recipe: its definition and options.

`recipe` trains PyTorch models, `model` has the architectures, `backbone` the pretrained network,
`data` the splits, `head` the linear layer, `tuning` the training of the layers below it, and
`objectives` what is predicted. This module imports none of them, so that `--help` stays fast.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from modelpad.recipes.images.columns import ColumnOptions
from modelpad.training.options import OptimizerOptions, option
from modelpad.training.ranges import Range, Space
from modelpad.training.recipe import Recipe

ArchitectureName = Literal["transfer", "small", "mini"]
Switch = Literal["auto", "no"]
LossName = Literal["cross-entropy", "focal"]


@dataclass(frozen=True, slots=True)
class ImagesOptions:
    """The options of `modelpad train images` beyond those of every recipe."""

    arch: ArchitectureName = option(
        "transfer",
        "architecture: transfer fine-tunes a network that was pretrained on photographs; small, for"
        " images unlike photographs, and mini, a textbook network, start from scratch",
    )
    backbone: str | None = option(
        None,
        "instead of EfficientNet-Lite0, transfer uses this network of keras.applications, with its"
        " ImageNet weights",
        metavar="NAME",
    )
    size: int | None = option(
        None,
        "side of the model's square input in pixels; larger shows more detail and takes longer"
        " (default: from the pictures, at most 224 for transfer)",
        metavar="PIXELS",
    )
    loss: LossName = option(
        "cross-entropy",
        "loss: focal pays more attention to pictures that are still predicted wrongly",
    )
    metric: tuple[str, ...] = option(
        (),
        "also compute this metric, from Keras or your own; repeatable",
        metavar="NAME|FILE.py:OBJECT",
    )
    class_weights: Switch = option(
        "auto", "auto weights rare classes more if a class is three times as common as another"
    )
    quantize: Switch = option(
        "auto", "auto stores int8 weights if validation accuracy falls by at most 0.5 points"
    )
    feedback: str | None = option(
        None,
        "also train on what people said of this model's predictions, where"
        " `modelpad serve --feedback` stored it",
        metavar="DIR",
    )
    optimizer: OptimizerOptions = OptimizerOptions()
    table: ColumnOptions = field(default_factory=ColumnOptions)
    no_heatmap: bool = option(False, "leave out where in the picture a class is seen")
    no_unknown: bool = option(False, "do not recognise pictures that are like none of the classes")


def search_space(options: ImagesOptions) -> Space:
    """What a search tries."""
    return {
        "learning_rate": Range(1e-4, 1e-2, log=True),
        "batch_size": Range(8, 64, log=True),
        "weight_decay": Range(1e-3, 0.3, log=True),
    }


RECIPE = Recipe(
    name="images",
    summary="any pictures: in class folders, or in a table of files and what to predict",
    extra="train",
    data_sets=(
        "ants-bees",
        "flowers",
        "a folder with one sub-folder of pictures per class",
        "a CSV of file_name and label",
    ),
    options=ImagesOptions,
    train="modelpad.recipes.images.recipe:train",
    examples=(
        "modelpad train images ./pets",
        "modelpad train images ./pets --name pets --size 160",
        "modelpad train images flowers --epochs 4",
        "modelpad train images ./pets --backbone MobileNetV2",
        "modelpad train images ./drawings --arch small",
        "modelpad train images ./pets --feedback ./feedback",
        "modelpad train images ./photos.csv --multi-label --target-column tags",
        "modelpad train images ./faces.csv --regression --target-column age",
        "modelpad train images --resume",
    ),
    variant="arch",
    search_space=search_space,
    data_parallel=True,
    named_after_data=True,
)
