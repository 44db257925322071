"""The network that paints, and the module that is served: pixels and settings in, a picture out.

An encoder, residual blocks at an eighth of the size, and a decoder that adds the encoder's maps
(after Johnson et al., 2016, "Perceptual losses for real-time style transfer"). Every normalisation
has a scale and a shift for each style (Dumoulin et al., 2017, "A learned representation for
artistic style"), so one network paints in many styles, and mixes them by mixing these numbers.
Borders are padded with the nearest pixel: with zeros, the network learns to see them, and paints a
frame around every picture. Nearest-neighbour upsampling costs next to nothing in ONNX Runtime, and
pixel shuffling replaces the convolutions at full size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

STRIDE = 8  # of the whole network: sides are padded to a multiple
EPSILON = 1e-3
AMPLITUDE = 150.0  # of the output around mid-grey; what exceeds 0..255 is clipped
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


class Norm(nn.Module):
    """Conditional instance normalisation: a scale and a shift for each style and channel."""

    def __init__(self, channels: int, styles: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(styles, channels))
        self.shift = nn.Parameter(torch.zeros(styles, channels))

    def forward(self, maps: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """Normalises maps (N, C, H, W) with the weights `style` (N, styles).

        All items are channels of one picture to the operator, which knows no batch of scales.
        """
        count, channels, height, width = maps.shape
        normal = functional.instance_norm(
            maps.reshape(1, count * channels, height, width),
            weight=(style @ self.scale).reshape(-1).to(maps.dtype),
            bias=(style @ self.shift).reshape(-1).to(maps.dtype),
            eps=EPSILON,
        )
        return normal.reshape(count, channels, height, width)


class Layer(nn.Module):
    """A convolution, normalised by style."""

    def __init__(self, taken: int, given: int, styles: int, side: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = convolve(taken, given, side, stride, bias=False)
        self.norm = Norm(given, styles)

    def forward(self, maps: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """Maps (N, taken, H, W) to (N, given, H / stride, W / stride)."""
        normal: torch.Tensor = self.norm(self.conv(maps), style)
        return normal


class Block(nn.Module):
    """A residual block (He et al., 2016)."""

    def __init__(self, channels: int, styles: int) -> None:
        super().__init__()
        self.first = Layer(channels, channels, styles)
        self.second = Layer(channels, channels, styles)

    def forward(self, maps: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """Maps of the same shape."""
        changed: torch.Tensor = self.second(torch.relu(self.first(maps, style)), style)
        return maps + changed


class Painter(nn.Module):
    """Paints pictures in a mixture of styles."""

    def __init__(
        self, styles: int, widths: Sequence[int] = (16, 32, 48), blocks: int = 5, stem: int = 5
    ) -> None:
        """`widths` are the channels at a half, a quarter and an eighth of the picture's sides."""
        super().__init__()
        half, quarter, eighth = widths
        self.stem = convolve(3, half, stem, 2)
        self.down = Layer(half, quarter, styles, stride=2)
        self.deep = Layer(quarter, eighth, styles, stride=2)
        self.blocks = nn.ModuleList(Block(eighth, styles) for _ in range(blocks))
        self.widen = nn.Conv2d(eighth, quarter, 1)
        self.up = Layer(quarter, quarter, styles)
        self.thin = nn.Conv2d(quarter, half, 1)
        self.top = Layer(half, half, styles)
        self.paint = convolve(half, 12, 3)
        assert self.paint.bias is not None
        with torch.no_grad():  # all four pixels of a group start alike: no checkerboard
            self.paint.weight.copy_(self.paint.weight[::4].repeat_interleave(4, dim=0))
            self.paint.bias.copy_(self.paint.bias[::4].repeat_interleave(4))

    def forward(self, picture: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """Pictures (N, 3, H, W), 0..255, in the styles (N, styles), as pixels of that shape.

        H and W are multiples of `STRIDE`. Values may exceed 0..255 a little.
        """
        half = torch.relu(self.stem(picture / 127.5 - 1.0))
        quarter = torch.relu(self.down(half, style))
        deep = torch.relu(self.deep(quarter, style))
        for block in self.blocks:
            deep = block(deep, style)
        maps = torch.relu(self.up(quarter + enlarge(self.widen(deep)), style))
        maps = torch.relu(self.top(half + enlarge(self.thin(maps)), style))
        pixels = functional.pixel_shuffle(self.paint(maps), 2)
        return 127.5 + AMPLITUDE * torch.tanh(pixels)


def convolve(taken: int, given: int, side: int, stride: int = 1, *, bias: bool = True) -> nn.Conv2d:
    """A convolution that keeps the size, or divides it by the stride."""
    padding = side // 2
    return nn.Conv2d(taken, given, side, stride, padding, bias=bias, padding_mode="replicate")


def enlarge(maps: torch.Tensor) -> torch.Tensor:
    """Maps with both sides doubled."""
    return functional.interpolate(maps, scale_factor=2.0, mode="nearest")
