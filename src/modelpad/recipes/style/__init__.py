"""The style recipe: its definition and options.

`optimise` paints one picture as Gatys et al. (2016) do; `recipe` trains a network that paints any
picture at once. Both measure with `losses`, in the features of `vgg`. `network` is what is trained
by `fitting`, `served` what is exported, `data` reads the pictures. This module imports none of
them, so that `--help` stays fast.
"""

from __future__ import annotations

from dataclasses import dataclass

from modelpad.training.options import option
from modelpad.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class StyleOptions:
    """The options of `modelpad train style` beyond those of every recipe."""

    paintings: str = option(
        "paintings",
        "the paintings whose styles to learn: a folder, or its name in MODELPAD_DATA",
        metavar="FOLDER",
    )
    photos: str | None = option(
        None, "photographs to train on, the same as --data", metavar="FOLDER"
    )
    from_: str | None = option(
        None,
        "the painter to start from: a model's name, or the path of its bundle or run; its styles"
        " are kept where the paintings are called the same, and new ones learnt in a quarter of the"
        " epochs",
        metavar="NAME_OR_PATH",
    )
    size: int = option(256, "side of the photographs' crops in the last third", metavar="PIXELS")
    painting_size: int = option(
        320, "shorter side of the paintings: the larger, the larger the strokes", metavar="PIXELS"
    )
    style_weight: float = option(
        20.0, "weight of the style's loss; that of the content is 1", metavar="WEIGHT"
    )
    variation_weight: float = option(
        0.5, "weight of the total variation: the larger, the smoother", metavar="WEIGHT"
    )
    flicker_weight: float = option(
        100.0,
        "weight of what changes between two frames of a video: the larger, the calmer",
        metavar="WEIGHT",
    )
    scales: int = option(
        2, "compare styles at this many sizes, each half of the last: more see larger strokes"
    )
    batch_size: int = option(4, "photographs in a step", metavar="N")
    compare: int = option(
        0,
        "compare the losses with those of optimised pictures on this many held-out photographs;"
        " takes about a minute each",
        metavar="N",
    )


RECIPE = Recipe(
    name="style",
    summary="a network that paints photographs like paintings",
    extra="train",
    data_sets=("photos", "a folder of photographs"),
    options=StyleOptions,
    train="modelpad.recipes.style.recipe:train",
    examples=(
        "modelpad train style --paintings ./paintings --photos ./photos",
        "modelpad train style --paintings ./paintings --photos ./photos --name mine --epochs 4",
        "modelpad train style --from styles --paintings ./mine --photos ./photos",
        "modelpad train style --resume",
    ),
)
