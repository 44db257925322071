"""Style transfer by optimising the pixels of one picture (Gatys, Ecker & Bethge, 2016).

Large pictures are painted small first and then refined: strokes become as large as the painting's
(Gatys et al., 2017, "Controlling perceptual factors in neural style transfer", section 6).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch.nn import functional

from modelpad.recipes.style.losses import Critic, Losses, Target, Weights, content_energy

Method = Literal["lbfgs", "adam"]
ADAM_RATE = 0.03  # in units of `RANGE`
HISTORY = 20  # of L-BFGS
CHUNK = 10  # evaluations between two reports
COARSEST = 256  # pixels of the longer side of the smallest picture in a pyramid
RANGE = 127.5  # pixels in one unit of the variable that is optimised


@dataclass(frozen=True, slots=True)
class Style:
    """A painting (1, 3, h, w), its weight, and a mask (H, W) of where it applies, 0..1.

    The painting is at the scale at which its strokes should appear in the picture.
    """

    painting: torch.Tensor
    weight: float = 1.0
    mask: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """How to optimise. `half` computes the features in bfloat16; `energy` as `Critic.measure`."""

    iterations: int = 300
    method: Method = "lbfgs"
    weights: Weights = field(default_factory=Weights)
    pyramid: bool = True
    half: bool = False
    energy: float | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Where an optimisation is: evaluations done of all, weighted losses, the picture so far."""

    done: int
    total: int
    losses: dict[str, float]
    picture: torch.Tensor


def paint(
    critic: Critic,
    photo: torch.Tensor,
    styles: Sequence[Style],
    start: torch.Tensor,
    settings: Settings,
    report: Callable[[Progress], None],
) -> torch.Tensor:
    """The photograph (1, 3, H, W) painted, 0..255, from the picture `start` of the same shape."""
    levels = list_levels(photo.shape[2:], settings)
    total = sum(iterations for _, iterations in levels)
    picture, done = start, 0
    for scale, iterations in levels:
        size = [max(1, round(side * scale)) for side in photo.shape[2:]]
        picture = resize(picture, size)
        level = Level(critic, resize(photo, size), [shrink(each, scale) for each in styles])
        before = done

        def tell(evaluated: int, losses: dict[str, float], now: torch.Tensor) -> None:
            report(Progress(before + evaluated, total, losses, now))  # noqa: B023

        picture = level.optimise(picture, iterations, settings, tell)
        done += iterations
    return picture.clamp(0, 255)


def list_levels(size: Sequence[int], settings: Settings) -> list[tuple[float, int]]:
    """The scale and the number of iterations of each level, the last of full size.

    The larger a picture is, the fewer iterations it needs after those before.
    """
    scales = [1.0]
    while settings.pyramid and max(size) * scales[0] / 2 >= COARSEST:
        scales.insert(0, scales[0] / 2)
    shares = [0.5**index for index in range(len(scales))]
    return [
        (scale, max(1, round(settings.iterations * share)))
        for scale, share in zip(scales, shares, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Level:
    """A photograph (1, 3, H, W) and its styles at one scale."""

    critic: Critic
    photo: torch.Tensor
    styles: Sequence[Style]

    def optimise(
        self,
        start: torch.Tensor,
        iterations: int,
        settings: Settings,
        tell: Callable[[int, dict[str, float], torch.Tensor], None],
    ) -> torch.Tensor:
        """The picture (1, 3, H, W) after so many evaluations of the loss; `tell` sees some."""
        measure = self.prepare(settings)
        value = (start.detach() / RANGE - 1.0).contiguous().clone().requires_grad_()
        optimizer: torch.optim.Optimizer
        if settings.method == "adam":
            optimizer = torch.optim.Adam([value], ADAM_RATE)
        else:  # its own tolerances would stop early: they are absolute
            optimizer = torch.optim.LBFGS(
                [value],
                max_iter=CHUNK,
                max_eval=CHUNK,
                history_size=HISTORY,
                tolerance_grad=0,
                tolerance_change=0,
                line_search_fn="strong_wolfe",
            )
        done, losses = 0, {}

        def evaluate() -> torch.Tensor:
            nonlocal done, losses
            optimizer.zero_grad()
            found = measure((value + 1.0) * RANGE)
            total = found.total(settings.weights).sum()
            # A gradient of about 1 for each pixel.
            (total * value.numel()).backward()  # type: ignore[no-untyped-call]
            done, losses = done + 1, weigh(found, settings.weights)
            return total.detach() * value.numel()

        while done < iterations:
            before = done
            optimizer.step(evaluate)  # type: ignore[no-untyped-call]
            if done // CHUNK > before // CHUNK or done >= iterations:
                tell(min(done, iterations), losses, ((value.detach() + 1.0) * RANGE).clamp(0, 255))
        return ((value.detach() + 1.0) * RANGE).clamp(0, 255)

    def prepare(self, settings: Settings) -> Callable[[torch.Tensor], Losses]:
        """The losses as a function of the picture alone."""
        precision = torch.autocast(self.photo.device.type, torch.bfloat16, enabled=settings.half)
        with torch.no_grad(), precision:
            content = self.critic.read_content(self.photo)
            energy = settings.energy or float(content_energy(content))
            targets = [
                Target(self.critic.read_style(each.painting), each.weight, each.mask)
                for each in self.styles
            ]

        def measure(picture: torch.Tensor) -> Losses:
            with precision:
                return self.critic.measure(picture, content, targets, energy)

        return measure


def weigh(losses: Losses, weights: Weights) -> dict[str, float]:
    """The weighted losses by name, for the user."""
    parts = {
        "content": weights.content * losses.content,
        "style": weights.style * losses.style,
        "variation": weights.variation * losses.variation,
    }
    found = {name: float(value.detach().sum()) for name, value in parts.items()}
    return {"loss": sum(found.values()), **found}


def shrink(style: Style, scale: float) -> Style:
    """A style at another scale."""
    size = [max(32, round(side * scale)) for side in style.painting.shape[2:]]
    return Style(resize(style.painting, size), style.weight, style.mask)


def resize(pictures: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Pictures (N, 3, H, W) in another size (height, width)."""
    if list(pictures.shape[2:]) == list(size):
        return pictures
    resized = functional.interpolate(
        pictures, list(size), mode="bicubic", antialias=True, align_corners=False
    )
    return resized.clamp(0, 255)
