"""The X-ray recipe: its definition and options. It trains as the images recipe does.

`recipe` adds what is special about X-rays. This module imports no framework.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from modelpad.recipes.images import ImagesOptions
from modelpad.recipes.images import search_space as search_images
from modelpad.training.options import option
from modelpad.training.ranges import Space
from modelpad.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class XrayRecipeOptions:
    """The options of `modelpad train xray` beyond those of every recipe."""

    view: tuple[str, ...] = option(
        (), "with a metadata.csv: use pictures of this view, such as PA or AP; repeatable"
    )
    images: ImagesOptions = field(default_factory=ImagesOptions)


def search_space(options: XrayRecipeOptions) -> Space:
    """What a search tries."""
    return search_images(options.images)


RECIPE = Recipe(
    name="xray",
    summary="chest X-rays: a demonstration, not a medical device",
    extra="train",
    data_sets=(
        "xray",
        "the folder of the COVID chest X-ray collection with its metadata.csv",
        "a folder with one sub-folder of X-rays per class",
    ),
    options=XrayRecipeOptions,
    train="modelpad.recipes.xray.recipe:train",
    examples=(
        "modelpad train xray",
        "modelpad train xray ./covid-chestxray-dataset --view PA --view AP",
        "modelpad train xray --loss focal",
    ),
    search_space=search_space,
    data_parallel=True,
)
