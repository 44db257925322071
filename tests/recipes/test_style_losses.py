"""The losses and the optimisation, against the formulas of Gatys, Ecker & Bethge (2016)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from modelpad.errors import DataSetInvalid, DataSetNotFound
from modelpad.recipes.style.colour import LUMA, blend
from modelpad.recipes.style.losses import Critic, Layers, Target, Weights, gram
from modelpad.recipes.style.optimise import (
    Progress,
    Settings,
    Style,
    list_levels,
    paint,
)
from modelpad.recipes.style.vgg import KERAS, MEAN, NPZ, Vgg, find_weights, load_vgg
from tests.style_parts import make_weights

Floats = NDArray[np.float64]
STYLE, CONTENT = ("block1_conv1", "block2_conv1"), "block2_conv2"
SIDE = 16


@pytest.fixture(scope="module")
def critic() -> Critic:
    return Critic(Vgg(make_weights()).eval(), Layers(STYLE, CONTENT))


def draw(seed: int, side: int = SIDE) -> Floats:
    """A picture (3, side, side) with structure, 0..255."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (3, side // 4, side // 4)).repeat(4, 1).repeat(4, 2)
    return np.asarray(np.clip(coarse + rng.normal(0, 12, coarse.shape), 0, 255))


def tensor(picture: Floats) -> torch.Tensor:
    return torch.from_numpy(picture)[None].float()


class Reference:
    """The paper's equations in NumPy and float64, written without looking at the code."""

    def __init__(self) -> None:
        self.weights = {name: w.astype(np.float64) for name, w in make_weights().items()}

    def features(self, picture: Floats) -> dict[str, Floats]:
        maps = (picture - np.array(MEAN)[:, None, None])[::-1]
        found = {}
        for name in ("block1_conv1", "block1_conv2", "block2_conv1", "block2_conv2"):
            if name == "block2_conv1":
                channels, height, width = maps.shape
                maps = maps.reshape(channels, height // 2, 2, width // 2, 2).mean(axis=(2, 4))
            padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
            windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
            kernel = self.weights[f"{name}.kernel"]  # (3, 3, in, out)
            maps = np.einsum("cyxij,ijco->oyx", windows, kernel, optimize=True)
            maps = np.maximum(maps + self.weights[f"{name}.bias"][:, None, None], 0)
            found[name] = maps
        return found

    def grams(self, picture: Floats) -> dict[str, Floats]:
        """Equation 3."""
        flat = {n: f.reshape(len(f), -1) for n, f in self.features(picture).items()}
        return {name: flat[name] @ flat[name].T for name in STYLE}

    def content(self, picture: Floats, photo: Floats) -> float:
        """Equation 1."""
        difference = self.features(picture)[CONTENT] - self.features(photo)[CONTENT]
        return 0.5 * float((difference**2).sum())

    def layer(self, picture: Floats, painting: Floats, name: str) -> float:
        """Equation 4."""
        features = self.features(picture)[name]
        filters, positions = len(features), features[0].size
        difference = self.grams(picture)[name] - self.grams(painting)[name]
        scale: int = 4 * filters**2 * positions**2
        return float((difference**2).sum()) / scale

    def total(self, picture: Floats, photo: Floats, painting: Floats, weights: Weights) -> float:
        """Equation 7, with alpha and the layers' weights as `losses` states them."""
        alpha = weights.content / (0.5 * float((self.features(photo)[CONTENT] ** 2).sum()))
        style = 0.0
        for name in STYLE:
            features = self.features(painting)[name]
            filters, positions = len(features), features[0].size
            largest = (self.grams(painting)[name] ** 2).sum() / (4 * filters**2 * positions**2)
            style += self.layer(picture, painting, name) / (len(STYLE) * float(largest))
        across = np.abs(np.diff(picture, axis=2)).mean() + np.abs(np.diff(picture, axis=1)).mean()
        return float(
            alpha * self.content(picture, photo)
            + weights.style * style
            + weights.variation * across / 255
        )


def measure(critic: Critic, picture: torch.Tensor, weights: Weights) -> torch.Tensor:
    """The total loss of a picture (1, 3, H, W) for the photograph 1 and the painting 2."""
    with torch.no_grad():
        content = critic.read_content(tensor(draw(1)))
        target = Target(critic.read_style(tensor(draw(2))))
        energy = float(0.5 * content.square().mean())
    return critic.measure(picture, content, [target], energy).total(weights).sum()


def test_gram_matrices_are_those_of_equation_3(critic: Critic) -> None:
    expected = Reference().grams(draw(1))
    found = critic.read_style(tensor(draw(1)))
    for name in STYLE:
        positions = SIDE**2 if name.startswith("block1") else (SIDE // 2) ** 2
        got = found[name][0].numpy() * positions
        assert np.abs(got - expected[name]).max() < 1e-4 * np.abs(expected[name]).max()


def test_the_loss_is_that_of_equation_7(critic: Critic) -> None:
    weights = Weights(content=3.0, style=40.0, variation=0.7)
    expected = Reference().total(draw(0), draw(1), draw(2), weights)
    got = float(measure(critic, tensor(draw(0)), weights))
    assert abs(got - expected) < 1e-4 * expected


def test_the_gradient_is_that_of_finite_differences(critic: Critic) -> None:
    reference, weights, step = Reference(), Weights(1.0, 20.0, 0.0), 1e-3
    picture = tensor(draw(0)).requires_grad_()
    measure(critic, picture, weights).backward()  # type: ignore[no-untyped-call]
    assert picture.grad is not None
    gradient = picture.grad[0].numpy().astype(np.float64)
    for seed in range(5):
        towards = np.random.default_rng(seed).normal(0, 1, gradient.shape)
        towards += gradient / np.abs(gradient).mean()  # a direction in which the loss changes
        ends = [
            reference.total(draw(0) + sign * step * towards, draw(1), draw(2), weights)
            for sign in (1, -1)
        ]
        slope = (ends[0] - ends[1]) / (2 * step)
        assert abs(slope - float((gradient * towards).sum())) < 2e-3 * abs(slope)


def test_a_mask_hides_the_rest_of_a_picture() -> None:
    maps = torch.randn(1, 5, 8, 8)
    mask = torch.zeros(8, 8)
    mask[:, :4] = 1
    assert torch.allclose(gram(maps, mask), gram(maps[..., :4]), atol=1e-5)


def test_half_the_size_is_another_layer() -> None:
    two = Critic(Vgg(make_weights()).eval(), Layers(STYLE, CONTENT, (1, 2)))
    picture = tensor(draw(1))
    smaller = torch.nn.functional.avg_pool2d(picture, 2)
    found = two.read_style(picture)
    assert torch.allclose(found["block1_conv1/2"], two.read_style(smaller)["block1_conv1"])


def optimise(critic: Critic, settings: Settings, seed: int = 5) -> tuple[torch.Tensor, list[float]]:
    """A painted picture and its losses, from noise."""
    seen: list[Progress] = []
    noise = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) * 255
    styles = [Style(tensor(draw(2)))]
    picture = paint(critic, tensor(draw(1)), styles, noise, settings, seen.append)
    assert seen[-1].done == seen[-1].total
    return picture, [each.losses["loss"] for each in seen]


@pytest.mark.parametrize("method", ["lbfgs", "adam"])
def test_the_optimisation_lowers_the_loss_and_repeats(critic: Critic, method: str) -> None:
    settings = Settings(iterations=40, method=method)  # type: ignore[arg-type]
    first, losses = optimise(critic, settings)
    again, _ = optimise(critic, settings)
    assert losses[-1] < 0.8 * losses[0]
    assert torch.equal(first, again)
    assert not torch.equal(first, optimise(critic, settings, seed=6)[0])
    assert 0 <= float(first.min()) <= float(first.max()) <= 255


def test_a_pyramid_ends_at_full_size() -> None:
    levels = list_levels((600, 1100), Settings(iterations=100))
    assert levels == [(0.25, 100), (0.5, 50), (1.0, 25)]
    assert list_levels((600, 1100), Settings(iterations=100, pyramid=False)) == [(1.0, 100)]


def test_a_heavier_style_is_resembled_more(critic: Critic) -> None:
    photo, one, other = (tensor(draw(seed)) for seed in (1, 2, 3))

    def distance(weights: tuple[float, float]) -> float:
        """How far the picture is from the first of two styles."""
        styles = [Style(each, weight) for each, weight in zip((one, other), weights, strict=True)]
        plan = Settings(iterations=30, weights=replace(Weights(), content=0.01))
        painted = paint(critic, photo, styles, photo, plan, lambda progress: None)
        return float(Target(critic.read_style(one)).measure(critic.read_style(painted)))

    assert distance((4.0, 1.0)) < distance((1.0, 4.0))


def test_colours_are_kept_and_strength_mixes() -> None:
    painted, photo = (torch.rand(1, 3, 4, 4) * 255 for _ in range(2))
    one, none = torch.ones(1), torch.zeros(1)
    assert torch.allclose(blend(painted, photo, one, none), painted, atol=1e-3)
    assert torch.allclose(blend(painted, photo, none, one), photo, atol=1e-3)
    assert torch.allclose(blend(painted, photo, one / 2, none), (painted + photo) / 2, atol=1e-3)
    kept = blend(painted, photo, one, one)
    luma = torch.tensor(LUMA)[:, None, None]
    assert torch.allclose((kept * luma).sum(1), (painted * luma).sum(1), atol=1e-2)
    chroma = kept - kept.mean(1, keepdim=True)
    assert torch.allclose(chroma, photo - photo.mean(1, keepdim=True), atol=1e-2)


def test_weights_are_found_by_name_or_reported(tmp_path: Path) -> None:
    with pytest.raises(DataSetNotFound, match="VGG-19"):
        find_weights([tmp_path])
    (tmp_path / NPZ).write_bytes(b"text")
    with pytest.raises(DataSetInvalid, match="cannot be read"):
        load_vgg(find_weights([tmp_path]))
    np.savez(tmp_path / NPZ, **make_weights(1))  # type: ignore[arg-type]
    assert [*load_vgg(tmp_path / NPZ).layers] == ["block1_conv1", "block1_conv2"]
    (tmp_path / KERAS).touch()
    assert find_weights([tmp_path]).name == KERAS
    with pytest.raises(DataSetInvalid, match="wrong shape"):
        Vgg({"block1_conv1.kernel": np.zeros((3, 3, 1, 64), np.float32)})
