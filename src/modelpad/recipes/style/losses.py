"""What a painting should resemble: the losses of Gatys, Ecker & Bethge (2016).

With feature maps F (N_l filters, M_l positions) of a layer l, "Image style transfer using
convolutional neural networks" defines the Gram matrix G = F F^T, and
    content  1/2 sum (F - P)^2                        (equation 1)
    style    E_l = 1 / (4 N_l^2 M_l^2) sum (G - A)^2  (equation 4), and L = sum w_l E_l (5)
    total    alpha * content + beta * style           (equation 7).

Here G is already divided by M_l, so that pictures of different sizes compare. Both losses are
relative: the content loss is divided by a typical energy 1/2 sum P^2, and each w_l is
1 / (layers * E_l(0)), the inverse of the loss of a picture without features. So 1 means "nothing in
common" for every layer, painting and size, and one pair of weights fits them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from modelpad.recipes.style.vgg import Maps, Vgg

STYLE_LAYERS = tuple(f"block{block}_conv1" for block in range(1, 6))
CONTENT_LAYER = "block4_conv2"
SHALLOW_CONTENT_LAYER = "block3_conv4"
PIXEL_RANGE = 255.0

Grams = dict[str, torch.Tensor]
"""Gram matrices (S, C, C) by the name of their layer, with `/2` for half the size and so on."""


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of the losses: alpha, beta, of the total variation, and of the flicker."""

    content: float = 1.0
    style: float = 20.0
    variation: float = 0.5
    flicker: float = 0.0


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers to compare. `scales` divide the pictures' sides before style is compared.

    Where the deep blocks are missing, a second scale shows the shallow ones twice as much of the
    picture: they see larger strokes.
    """

    style: tuple[str, ...]
    content: str
    scales: tuple[int, ...] = (1,)

    def describe(self) -> str:
        """In words, for the user."""
        scales = "".join(f" and at 1/{scale} of the size" for scale in self.scales[1:])
        return f"content {self.content}; style {', '.join(self.style)}{scales}"


@dataclass(frozen=True, slots=True)
class Losses:
    """The unweighted losses of each picture (N,)."""

    content: torch.Tensor
    style: torch.Tensor
    variation: torch.Tensor

    def total(self, weights: Weights) -> torch.Tensor:
        """The weighted sum (N,)."""
        return (
            weights.content * self.content
            + weights.style * self.style
            + weights.variation * self.variation
        )


def choose_layers(vgg: Vgg) -> Layers:
    """The paper's layers, as far as the network has them."""
    style = tuple(name for name in STYLE_LAYERS if name in vgg.layers)
    if CONTENT_LAYER in vgg.layers:
        return Layers(style, CONTENT_LAYER)
    if SHALLOW_CONTENT_LAYER in vgg.layers:
        return Layers(style, SHALLOW_CONTENT_LAYER, (1, 2))
    return Layers(style, [*vgg.layers][-1], (1, 2))


def gram(maps: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """The Gram matrices (N, C, C) of maps (N, C, h, w), divided by the number of positions.

    A mask (h, w) weights the positions (Gatys et al., 2017, "Controlling perceptual factors in
    neural style transfer", section 4.1).
    """
    with torch.autocast(maps.device.type, enabled=False):
        flat = maps.flatten(2).float()
        if mask is None:
            return flat @ flat.transpose(1, 2) / flat.shape[2]
        weights = mask.flatten().float()
        return (flat * weights) @ flat.transpose(1, 2) / weights.sum().clamp_min(1e-6)


def content_loss(maps: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Equation 1, divided by the number of features (N,)."""
    return 0.5 * (maps.float() - wanted.float()).square().mean(dim=(1, 2, 3))


def style_loss(matrix: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Equation 4 for Gram matrices (N, C, C) that are divided by the number of positions (N,)."""
    return 0.25 * (matrix - wanted).square().mean(dim=(1, 2))


def total_variation(pixels: torch.Tensor) -> torch.Tensor:
    """The mean absolute difference of neighbouring pixels (N, 3, H, W), 0..255, as a share (N,)."""
    across = (pixels[..., 1:] - pixels[..., :-1]).abs().mean(dim=(1, 2, 3))
    down = (pixels[..., 1:, :] - pixels[..., :-1, :]).abs().mean(dim=(1, 2, 3))
    return (across + down) / PIXEL_RANGE


@dataclass(frozen=True, slots=True)
class Target:
    """A style to resemble: one Gram matrix for each picture, or one for all of them.

    The mask (H, W), 0..1, says where.
    """

    grams: Grams
    weight: float = 1.0
    mask: torch.Tensor | None = None

    def measure(self, found: Grams) -> torch.Tensor:
        """The relative loss of pictures with the Gram matrices `found` (N,)."""
        shares = [
            style_loss(found[name], wanted) / style_loss(torch.zeros_like(wanted), wanted)
            for name, wanted in self.grams.items()
        ]
        aligned = torch.broadcast_tensors(*shares)  # type: ignore[no-untyped-call]
        return torch.stack(aligned).mean(dim=0)


class Critic:
    """Measures how far pictures are from a content and a style."""

    def __init__(self, vgg: Vgg, layers: Layers | None = None) -> None:
        self.vgg, self.layers = vgg, layers or choose_layers(vgg)

    def read_content(self, pixels: torch.Tensor) -> torch.Tensor:
        """The content features (N, C, h, w) of pictures (N, 3, H, W)."""
        name = self.layers.content
        features: torch.Tensor = self.vgg(pixels, {name})[name]
        return features

    def read_style(self, pixels: torch.Tensor, mask: torch.Tensor | None = None) -> Grams:
        """The Gram matrices of pictures (N, 3, H, W); a mask (H, W), 0..1, weights positions."""
        return self._grams(pixels, self._read(pixels, frozenset(self.layers.style)), mask)

    def measure(
        self,
        pixels: torch.Tensor,
        content: torch.Tensor,
        styles: Sequence[Target],
        energy: torch.Tensor | float,
    ) -> Losses:
        """The losses of pictures (N, 3, H, W); that of style is the mean by the targets' weights.

        `content` are the wanted features, and `energy` what their loss is divided by.
        """
        maps = self._read(pixels, {*self.layers.style, self.layers.content})
        whole = sum(target.weight for target in styles)
        shares = [
            target.measure(self._grams(pixels, maps, target.mask)) * (target.weight / whole)
            for target in styles
        ]
        return Losses(
            content_loss(maps[self.layers.content], content) / energy,
            torch.stack(shares).sum(dim=0),
            total_variation(pixels),
        )

    def _read(self, pixels: torch.Tensor, wanted: frozenset[str] | set[str]) -> Maps:
        maps: Maps = self.vgg(pixels, wanted)
        return maps

    def _grams(self, pixels: torch.Tensor, maps: Maps, mask: torch.Tensor | None) -> Grams:
        """The Gram matrices at all scales; `maps` are those at the first."""
        found: Grams = {}
        for scale in self.layers.scales:
            if scale != 1:
                smaller = functional.avg_pool2d(pixels, scale)
                maps = self._read(smaller, frozenset(self.layers.style))
            for name in self.layers.style:
                key = name if scale == 1 else f"{name}/{scale}"
                found[key] = gram(maps[name], shrink_mask(mask, maps[name]))
        return found


def content_energy(content: torch.Tensor) -> torch.Tensor:
    """The content loss of a picture without features, as a mean over pictures: a scalar."""
    return content_loss(torch.zeros_like(content), content).mean()


def shrink_mask(mask: torch.Tensor | None, maps: torch.Tensor) -> torch.Tensor | None:
    """A mask (H, W) at the size of maps (N, C, h, w)."""
    if mask is None:
        return None
    return functional.interpolate(mask[None, None], maps.shape[2:], mode="area")[0, 0]
