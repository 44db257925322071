"""How near painters come to pictures optimised one by one (Gatys et al.), by the same losses.

usage: python bench/style_losses.py [--model BUNDLE] [--photos 10] [--betas 6] [--sheet FILE]
           [--johnson FOLDER]

Needs the data sets `photos`, `paintings` and `vgg19` (in MODELPAD_DATA), and PyTorch. `--johnson`
is a folder with one folder of weights for each painting (scream, udnie, wave, wreck), as
reiinakano/fast-style-transfer-deeplearnjs has them in src/ckpts: the network of Johnson et al.
(2016) of 1.7 million parameters, trained for hours on a GPU on one painting each. The paintings it
learnt from were larger; each network is compared with pictures optimised for paintings of the size
that suits it.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from modelpad.datasets.load import locate
from modelpad.recipes.style.data import Paintings, load_paintings, load_photos, to_pixels
from modelpad.recipes.style.losses import Critic, Target, Weights, content_energy
from modelpad.recipes.style.optimise import Progress, Settings, Style, paint
from modelpad.recipes.style.recipe import choose_scales, crop_centre, split_photos
from modelpad.recipes.style.vgg import find_weights, load_vgg
from modelpad.training.device import choose_device
from modelpad.zoo import FOLDER
from styles import load_ours

EVALUATIONS = 300
SIDE, OURS, WHOLE = 256, 448, 512
SCALES = 3
EPSILON = 1e-3
JOHNSONS = {
    "the_scream": "scream",
    "the_shipwreck_of_the_minotaur": "wreck",
    "udnie": "udnie",
    "wave": "wave",
}

Paint = Callable[[torch.Tensor, int], torch.Tensor]
"""A photograph (1, 3, H, W), 0..255, in a style by its number, painted."""


@dataclass(frozen=True, slots=True)
class Painter:
    """A network, and the paintings at the size that it learnt from."""

    name: str
    paint: Paint
    paintings: Paintings


def load_bundle(folder: Path, styles: int) -> Paint:
    """The bundle's graph, in each of its styles."""
    networks = [load_ours(folder, style) for style in range(styles)]

    def paint(photo: torch.Tensor, style: int) -> torch.Tensor:
        painted = networks[style](np.ascontiguousarray(photo[0].permute(1, 2, 0).numpy()))
        return torch.from_numpy(painted).permute(2, 0, 1)[None]

    return paint


class Johnson:
    """The network of Johnson et al. with instance normalisation, from weights as TensorFlow has
    them: filters (side, side, in, out), and after each a shift and a scale (out,)."""

    def __init__(self, folder: Path) -> None:
        shapes = json.loads((folder / "manifest.json").read_text())
        names = ("Variable", *(f"Variable_{index}" for index in range(1, 48)))
        self.values = [
            torch.from_numpy(
                np.fromfile(folder / shapes[name]["filename"], "<f4").reshape(shapes[name]["shape"])
            )
            for name in names
        ]

    def __call__(self, photo: torch.Tensor) -> torch.Tensor:
        """A photograph (1, 3, H, W), 0..255, painted; H and W are multiples of 4."""
        maps = photo
        for index, stride in ((0, 1), (3, 2), (6, 2)):
            maps = torch.relu(self.convolve(maps, index, stride))
        for index in range(9, 39, 6):
            maps = maps + self.convolve(torch.relu(self.convolve(maps, index)), index + 3)
        for index in (39, 42):
            maps = torch.relu(self.enlarge(maps, index))
        return 127.5 + 150 * torch.tanh(self.convolve(maps, 45))

    def convolve(self, maps: torch.Tensor, index: int, stride: int = 1) -> torch.Tensor:
        """A convolution with zeros around, as TensorFlow's SAME: the rest to the lower right."""
        filters = self.values[index].permute(3, 2, 0, 1)
        missing = filters.shape[2] - stride
        before, after = missing // 2, missing - missing // 2
        padded = functional.pad(maps, (before, after, before, after))
        return self.normalise(functional.conv2d(padded, filters, stride=stride), index)

    def enlarge(self, maps: torch.Tensor, index: int) -> torch.Tensor:
        """A transposed convolution of stride 2: filters (side, side, out, in)."""
        filters = self.values[index].permute(3, 2, 0, 1)
        grown = functional.conv_transpose2d(maps, filters, stride=2)
        return self.normalise(grown[:, :, :-1, :-1], index)

    def normalise(self, maps: torch.Tensor, index: int) -> torch.Tensor:
        """Instance normalisation."""
        shift, scale = self.values[index + 1], self.values[index + 2]
        return functional.instance_norm(maps, weight=scale, bias=shift, eps=EPSILON)


def load_johnson(folder: Path, names: tuple[str, ...]) -> Paint:
    """One network for each painting."""
    networks = [Johnson(folder / JOHNSONS[name]) for name in names]
    return lambda photo, style: networks[style](photo).clamp(0, 255)


class Judge:
    """Optimises pictures, and measures those painted beside them."""

    def __init__(self, critic: Critic, side: int) -> None:
        self.critic, self.side = critic, side
        self.half = choose_device().dtype is torch.bfloat16

    def compare(
        self, painter: Painter, photo: NDArray[np.uint8], style: int, beta: float
    ) -> dict[str, Any]:
        """The losses of a photograph painted and optimised, and after how many evaluations the
        optimisation was as good as the painter."""
        pixels = torch.from_numpy(crop_centre(photo, self.side).copy())
        picture = pixels.permute(2, 0, 1)[None].float()
        painting = painter.paintings.pictures[style][None]
        weights = Weights(1.0, beta)
        with torch.no_grad():
            content = self.critic.read_content(picture)
            target = Target(self.critic.read_style(painting))
            energy = float(content_energy(content))
            painted = painter.paint(picture, style)
        seen: list[tuple[int, torch.Tensor]] = []

        def keep(progress: Progress) -> None:
            seen.append((progress.done, progress.picture))

        settings = Settings(
            iterations=EVALUATIONS, pyramid=False, weights=weights, half=self.half, energy=energy
        )
        best = paint(self.critic, picture, [Style(painting)], picture, settings, keep)

        def measure(each: torch.Tensor) -> dict[str, float]:
            with torch.no_grad():
                losses = self.critic.measure(each, content, [target], energy)
            parts = {"content": float(losses.content), "style": float(losses.style)}
            return {"total": float(losses.total(weights)), **parts}

        mine, optimum = measure(painted), measure(best)
        totals = [(done, measure(each)["total"]) for done, each in seen]
        reached = next((done for done, total in totals if total <= mine["total"]), None)
        return {
            "painted": mine,
            "optimised": optimum,
            "ratio": mine["total"] / optimum["total"],
            "reached": reached,
            "curve": [(done, total / optimum["total"]) for done, total in totals],
            "pictures": (pixels.numpy(), to_pixels(painted[0]), to_pixels(best[0])),
        }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, help="a bundle, in place of the zoo's styles")
    parser.add_argument("--johnson", type=Path, help="folder of weights for each painting")
    parser.add_argument("--photos", type=int, default=10)
    parser.add_argument("--betas", default="6", help="weights of the style, separated by commas")
    parser.add_argument("--sheet", type=Path, help="write the pictures: photo, painted, optimised")
    options = parser.parse_args()
    roots = [Path(os.environ["MODELPAD_DATA"])]
    vgg = load_vgg(find_weights([roots[0] / "vgg19"])).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    critic = Critic(vgg, choose_scales(vgg, SCALES))
    photos, _ = load_photos(locate("photos", roots), SIDE)
    held = split_photos(photos)[1][: options.photos]
    ours = load_paintings("paintings", roots, OURS)
    folder = options.model or FOLDER / "styles"
    painters = [Painter("modelpad", load_bundle(folder, len(ours.names)), ours)]
    if options.johnson:
        whole = load_paintings("paintings", roots, WHOLE)
        painters.append(Painter("Johnson", load_johnson(options.johnson, ours.names), whole))
    judge = Judge(critic, SIDE)
    for beta in map(float, options.betas.split(",")):
        for painter in painters:
            report(judge, painter, held, beta, options.sheet)


def report(
    judge: Judge, painter: Painter, held: NDArray[np.uint8], beta: float, sheet: Path | None
) -> None:
    """Prints a line for each photograph and their means."""
    rows: list[dict[str, Any]] = []
    for index, photo in enumerate(held):
        style = index % len(painter.paintings.names)
        row = judge.compare(painter, photo, style, beta)
        rows.append(row)
        parts = (
            " ".join(f"{key} {value:.3f}" for key, value in row[kind].items())
            for kind in ("painted", "optimised")
        )
        print(
            f"{painter.name} beta {beta:g} {painter.paintings.names[style]}: {' | '.join(parts)}"
            f" | ratio {row['ratio']:.2f}, reached after {row['reached']} evaluations",
            flush=True,
        )
    curves = np.array([[share for _, share in row["curve"]] for row in rows]).mean(axis=0)
    points = [done for done, _ in rows[0]["curve"]]
    print(f"{painter.name} beta {beta:g}: ratio {mean(row['ratio'] for row in rows):.2f}")
    shares = [f"{done}: {share:.2f}" for done, share in zip(points, curves, strict=True)]
    print("  optimised, after", ", ".join(shares))
    if sheet:
        lines = [np.concatenate(row["pictures"], axis=1) for row in rows]
        path = sheet.with_stem(f"{sheet.stem}-{painter.name}-{beta:g}")
        Image.fromarray(np.concatenate(lines)).save(path)


if __name__ == "__main__":
    main()
