"""Paints one photograph like one or several paintings by optimisation: from files to pixels."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from modelpad.errors import UsageError
from modelpad.recipes.style.colour import blend
from modelpad.recipes.style.data import read_picture_file, to_pixels
from modelpad.recipes.style.losses import Critic
from modelpad.recipes.style.optimise import Progress, Settings, Style, paint, resize
from modelpad.recipes.style.vgg import find_weights, load_vgg

WEIGHTED = re.compile(r"(?P<path>.+)=(?P<weight>\d*\.?\d+)")
MIN_SIZE, MAX_SIZE = 32, 4096
NOISE = 127.5


@dataclass(frozen=True, slots=True)
class Like:
    """A painting's file, its weight, and the file of a mask: white where its style applies."""

    painting: Path
    weight: float = 1.0
    mask: Path | None = None


@dataclass(frozen=True, slots=True)
class Commission:
    """What to paint, and how.

    `size` is the longer side of the result in pixels; no photograph is enlarged. `init` is
    `content`, `noise` or the path of a picture. `scale` enlarges the paintings' strokes.
    `strength` and `preserve_colour`, 0..1, are those of `colour.blend`.
    """

    photo: Path
    likes: Sequence[Like]
    size: int = 512
    scale: float = 1.0
    init: str = "content"
    strength: float = 1.0
    preserve_colour: float = 0.0
    seed: int = 0
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        checks = (
            ("--size", self.size, MIN_SIZE, MAX_SIZE),
            ("--style-scale", self.scale, 0.1, 10),
            ("--iterations", self.settings.iterations, 1, 100_000),
            ("--strength", self.strength, 0, 1),
            ("--preserve-colour", self.preserve_colour, 0, 1),
        )
        for name, value, low, high in checks:
            if not low <= value <= high:
                raise UsageError(f"{name} is {value}.", hint=f"Give {low:g} to {high:g}.")
        if not self.likes or sum(each.weight for each in self.likes) <= 0:
            raise UsageError(
                "There is no painting with a weight above 0.", hint="Give --like FILE."
            )


def read_likes(texts: Sequence[str], masks: Sequence[str]) -> list[Like]:
    """The paintings in `FILE` or `FILE=WEIGHT`, with masks in the same order.

    Raises `UsageError` if there are more masks than paintings.
    """
    likes = []
    for text in texts:
        found = None if Path(text).is_file() else WEIGHTED.fullmatch(text)
        path, weight = (found["path"], float(found["weight"])) if found else (text, 1.0)
        likes.append(Like(Path(path), weight))
    if len(masks) > len(likes):
        raise UsageError(
            f"There are {len(masks)} masks for {len(likes)} paintings.",
            hint="Give one --mask for each --like, in the same order.",
        )
    given = [*map(Path, masks), *[None] * (len(likes) - len(masks))]
    return [replace(like, mask=mask) for like, mask in zip(likes, given, strict=True)]


def open_critic(folders: Sequence[Path]) -> Critic:
    """The measure, with VGG-19's weights from one of the folders, on a GPU if there is one.

    Raises `DataSetNotFound` and `DataSetInvalid`.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    vgg = load_vgg(find_weights(folders))
    return Critic(vgg.to(device, memory_format=torch.channels_last))  # type: ignore[call-overload]


def carry_out(
    work: Commission, critic: Critic, report: Callable[[Progress], None]
) -> NDArray[np.uint8]:
    """The pixels (H, W, 3) of the painted photograph.

    Raises `DataSetInvalid` if a picture cannot be read.
    """
    device = critic.vgg.mean.device
    photo = fit_longer(read_picture_file(work.photo), work.size).to(device)
    longer = round(max(photo.shape[2:]) * work.scale)
    styles = [
        Style(
            fit_longer(read_picture_file(like.painting), longer, enlarge=True).to(device),
            like.weight,
            None if like.mask is None else read_mask(like.mask, photo.shape[2:]).to(device),
        )
        for like in work.likes
    ]
    painted = paint(critic, photo, styles, make_start(work, photo), work.settings, report)
    strength, colour = (
        torch.tensor([value], device=device) for value in (work.strength, work.preserve_colour)
    )
    return to_pixels(blend(painted, photo, strength, colour)[0])


def make_start(work: Commission, photo: torch.Tensor) -> torch.Tensor:
    """The picture to begin with, of the photograph's shape (1, 3, H, W)."""
    if work.init == "content":
        return photo
    if work.init == "noise":
        random = torch.Generator().manual_seed(work.seed)
        noise = torch.randn(photo.shape, generator=random) * NOISE / 4 + NOISE
        return noise.clamp(0, 255).to(photo)
    return resize(read_picture_file(Path(work.init)).to(photo), photo.shape[2:])


def fit_longer(picture: torch.Tensor, longer: int, *, enlarge: bool = False) -> torch.Tensor:
    """A picture (1, 3, H, W) in proportion, with at most `longer` pixels on its longer side."""
    scale = longer / max(picture.shape[2:])
    if scale >= 1 and not enlarge:
        return picture
    return resize(picture, [max(1, round(side * scale)) for side in picture.shape[2:]])


def read_mask(path: Path, size: Sequence[int]) -> torch.Tensor:
    """The brightness of a picture (H, W), 0..1, resized to `size`."""
    grey = resize(read_picture_file(path), size)[0].mean(dim=0)
    return (grey / 255).clamp(0, 1)
