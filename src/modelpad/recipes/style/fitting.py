"""Trains a painter on photographs: every picture in a random style, judged by the losses.

Needs PyTorch, NumPy and Pillow alone, and runs on a processor or a GPU. The weights that are kept
are a moving average of those trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from modelpad.recipes.style.flicker import Shift, draw_noise, draw_shift, measure_flicker
from modelpad.recipes.style.losses import Critic, Grams, Losses, Target, Weights, content_energy
from modelpad.recipes.style.network import Painter
from modelpad.training.seeding import derive_seed

STATE = "state.pt"
AVERAGE = 0.998
WARM_UP = 0.05
CLIPPED = 1.0  # norm of the gradient
ENERGY_PHOTOS = 32

Photos = NDArray[np.uint8]
"""Photographs (N, side, side, 3)."""
Report = Callable[[int, dict[str, float]], None]
Move = tuple[Shift, torch.Tensor]
"""How another frame is shifted, and its noise (N, 3, H, W)."""
NAMES = ("loss", "content", "style", "variation", "flicker")
"""The total loss and its parts."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train. `sides` are those of the crops in the first epochs and in the last third.

    `half` computes in bfloat16 where that is faster, and the losses in float32 all the same.
    """

    epochs: int
    steps: int  # in an epoch
    batch_size: int = 4
    sides: tuple[int, int] = (128, 256)
    rate: float = 2e-3
    weights: Weights = field(default_factory=Weights)
    half: bool = True
    seed: int = 0

    def side(self, epoch: int) -> int:
        """The side of the crops in an epoch."""
        return self.sides[epoch >= self.epochs * 2 // 3]


class Fitter:
    """Training in progress of a painter. Each epoch depends only on the seed and its number."""

    def __init__(
        self, painter: Painter, critic: Critic, photos: Photos, grams: Grams, plan: Plan
    ) -> None:
        """`grams` are those of the paintings (styles, C, C); all is on the critic's device."""
        self.critic, self.photos, self.grams, self.plan = critic, photos, grams, plan
        self.device = critic.vgg.mean.device
        self.styles = len(next(iter(grams.values())))
        self.painter = painter.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(painter.parameters(), plan.rate)
        steps = max(plan.steps * plan.epochs, 2)
        warm_up = min(0.9, max(WARM_UP, 2 / steps))
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, plan.rate, total_steps=steps, pct_start=warm_up
        )
        average = get_ema_multi_avg_fn(min(AVERAGE, 1 - 8 / max(steps, 16)))  # type: ignore[no-untyped-call]
        self.average = AveragedModel(self.painter, multi_avg_fn=average)
        self.energy = self.measure_energy()

    def measure_energy(self) -> torch.Tensor:
        """The typical energy of the photographs' content."""
        some = np.linspace(0, len(self.photos) - 1, min(ENERGY_PHOTOS, len(self.photos)))
        with torch.no_grad(), self.precision():
            found = [
                content_energy(self.critic.read_content(self.to_device(self.photos[[index]])))
                for index in some.astype(int)
            ]
        return torch.stack(found).mean()

    @property
    def best(self) -> Painter:
        """The moving average of the weights, for painting."""
        average = self.average.module
        assert isinstance(average, Painter)
        return average.eval()

    def train_epoch(self, epoch: int, report: Report) -> dict[str, float]:
        """Trains one epoch. Returns the mean losses; `report` gets them after each step."""
        self.painter.train()
        draw = np.random.default_rng(derive_seed(self.plan.seed, epoch))
        sums = torch.zeros(len(NAMES), device=self.device)
        for step in range(self.plan.steps):
            photos = self.to_device(self.draw_photos(draw, self.plan.side(epoch)))
            chosen = torch.from_numpy(draw.integers(0, self.styles, len(photos))).to(self.device)
            moved = self.draw_move(draw, photos) if self.plan.weights.flicker else None
            sums += self.train_step(photos, chosen, moved)
            if step % 20 == 19 or step == self.plan.steps - 1:
                report(step + 1, name_means(sums / (step + 1)))
        return name_means(sums / self.plan.steps)

    def train_step(
        self, photos: torch.Tensor, chosen: torch.Tensor, moved: Move | None = None
    ) -> torch.Tensor:
        """One step on photographs (N, 3, H, W) in the styles (N,): the means of `NAMES`.

        The first of them are also painted as another frame shows them, if they `moved`.
        """
        losses, painted = self.paint_and_judge(self.painter, photos, chosen)
        total = losses.total(self.plan.weights).mean()
        flicker = torch.zeros((), device=self.device)
        if moved is not None:
            some = slice(len(moved[1]))
            with self.precision():
                style = self.encode(chosen[some])
                flicker = measure_flicker(self.painter, photos[some], style, painted[some], moved)
            flicker = flicker.mean()
        self.optimizer.zero_grad(set_to_none=True)
        total = total + self.plan.weights.flicker * flicker
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.painter.parameters(), CLIPPED)
        self.optimizer.step()
        self.schedule.step()
        self.average.update_parameters(self.painter)
        parts = (losses.content, losses.style, losses.variation)
        return torch.stack(
            [total.detach(), *(part.detach().mean() for part in parts), flicker.detach()]
        )

    def judge(self, painter: Painter, photos: torch.Tensor, chosen: torch.Tensor) -> Losses:
        """The losses of photographs (N, 3, H, W) painted in the styles (N,)."""
        return self.paint_and_judge(painter, photos, chosen)[0]

    def paint_and_judge(
        self, painter: Painter, photos: torch.Tensor, chosen: torch.Tensor
    ) -> tuple[Losses, torch.Tensor]:
        """The losses of photographs (N, 3, H, W) in the styles (N,), and how they look."""
        wanted = Target({name: matrices[chosen] for name, matrices in self.grams.items()})
        with self.precision():
            with torch.no_grad():
                content = self.critic.read_content(photos)
            painted = painter(photos, self.encode(chosen))
            return self.critic.measure(painted, content, [wanted], self.energy), painted

    def encode(self, chosen: torch.Tensor) -> torch.Tensor:
        """Styles (N,) as weights (N, styles)."""
        return torch.nn.functional.one_hot(chosen, self.styles).float()

    def draw_move(self, draw: np.random.Generator, photos: torch.Tensor) -> Move:
        """Another frame of half of the photographs: that costs less, and shows as much."""
        return draw_shift(draw), draw_noise(draw, photos[: (len(photos) + 1) // 2])

    def precision(self) -> torch.autocast:
        """The context to compute in."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.half)

    def draw_photos(self, draw: np.random.Generator, side: int) -> Photos:
        """Random crops of random photographs, half of them mirrored."""
        chosen = draw.integers(0, len(self.photos), self.plan.batch_size)
        return np.stack([self.crop(self.photos[index], draw, side) for index in chosen])

    def crop(self, photo: Photos, draw: np.random.Generator, side: int) -> Photos:
        """A square of `side` pixels of a photograph, at random."""
        top, left = (int(draw.integers(0, size - side + 1)) for size in photo.shape[:2])
        part = photo[top : top + side, left : left + side]
        return part[:, ::-1] if draw.random() < 0.5 else part

    def to_device(self, photos: Photos) -> torch.Tensor:
        """Photographs (N, H, W, 3) as float32 (N, 3, H, W)."""
        tensor = torch.from_numpy(np.ascontiguousarray(photos)).to(self.device, non_blocking=True)
        return tensor.permute(0, 3, 1, 2).float()  # channels last in memory

    def save(self, folder: Path) -> None:
        """Writes everything that `load` needs to go on."""
        state = {
            "painter": self.painter.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        torch.save(state, folder / STATE)

    def load(self, folder: Path) -> None:
        """The state that `save` wrote."""
        state = torch.load(folder / STATE, map_location=self.device, weights_only=True)
        for name in ("painter", "average", "optimizer", "schedule"):
            getattr(self, name).load_state_dict(state[name])


def read_grams(critic: Critic, paintings: Iterator[torch.Tensor] | list[torch.Tensor]) -> Grams:
    """The Gram matrices (styles, C, C) of paintings (3, H, W), each of its own size."""
    with torch.no_grad():
        found = [critic.read_style(painting[None]) for painting in paintings]
    return {name: torch.cat([each[name] for each in found]) for name in found[0]}


def name_means(means: torch.Tensor) -> dict[str, float]:
    """The total loss and its parts by name."""
    return dict(zip(NAMES, means.tolist(), strict=True))
