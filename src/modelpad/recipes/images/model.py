"""The architectures, and the module that is exported: pixels in, predictions and a heat map out.

All end in globally pooled features and one linear layer. So the same weights say which class an
image belongs to, and where in the image that is seen: a class activation map (Zhou et al., 2016,
"Learning deep features for discriminative localization").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from modelpad.recipes.images import ArchitectureName
from modelpad.recipes.images.backbone import load_pretrained
from modelpad.recipes.images.objectives.objective import Objective
from modelpad.training.familiarity import EPSILON, Likeness

CENTRE, SPREAD = 127.0, 128.0  # of the pixels that the pretrained weights expect


@dataclass(frozen=True, slots=True)
class Architecture:
    """How an architecture is built and trained.

    `rate` is the learning rate of the last layers. Of a pretrained network the first `frozen`
    layers are never trained, and those after it the less, the earlier they are.
    """

    layers: Callable[[int, int], nn.Sequential]  # from the number of channels and the size
    epochs: int
    rate: float
    size: int
    frozen: int = 0
    pretrained: bool = False
    network: str = ""  # its name, if it is pretrained
    batch_size: int | None = None  # None: by the number of pictures
    weight_decay: float = 0.01
    pooled: bool = True  # whether the layers return a map (N, C, h, w), not features (N, C)


def small(channels: int, size: int) -> nn.Sequential:
    """Eight convolutions, for images that are unlike photographs."""

    def convolve(taken: int, given: int, stride: int = 1) -> list[nn.Module]:
        conv = nn.Conv2d(taken, given, 3, stride, padding=1, bias=False)
        return [conv, nn.BatchNorm2d(given), nn.ReLU()]

    return nn.Sequential(
        *convolve(channels, 32, 2),
        *convolve(32, 32),
        *convolve(32, 64, 2),
        *convolve(64, 64),
        *convolve(64, 128, 2),
        *convolve(128, 128),
        *convolve(128, 256, 2),
        *convolve(256, 256),
    )


def mini(channels: int, size: int) -> nn.Sequential:
    """A textbook network: two convolutions with pooling, and one dense layer."""
    return nn.Sequential(
        nn.Conv2d(channels, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.LazyLinear(1000),
        nn.ReLU(),
    )


ARCHITECTURES: Mapping[ArchitectureName, Architecture] = {
    "transfer": Architecture(
        lambda channels, size: load_pretrained(),
        6,
        1e-3,
        224,
        frozen=6,
        pretrained=True,
        network="EfficientNet-Lite0",
    ),
    "small": Architecture(small, 30, 3e-3, 96),
    "mini": Architecture(mini, 4, 1e-3, 64, pooled=False),
}


class Classifier(nn.Module):
    """Layers and a linear head."""

    def __init__(self, arch: Architecture, channels: int, size: int, outputs: int) -> None:
        super().__init__()
        self.arch, self.size = arch, size
        self.layers = arch.layers(channels, size)
        with torch.no_grad():
            features = self.pool(self.layers(torch.zeros(2, channels, size, size)))
        self.head = nn.Linear(features.shape[1], outputs)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels (N, H, W, C), 0..255, to logits (N, outputs)."""
        output: torch.Tensor = self.head(self.pool(self.map(pixels)))
        return output

    def map(self, pixels: torch.Tensor) -> torch.Tensor:
        """The last layer's map (N, features, h, w), or features (N, features) if not pooled."""
        result: torch.Tensor = self.layers(self.scale(pixels))
        return result

    def scale(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels (N, H, W, C), 0..255, as (N, C, H, W), -1..1."""
        return ((pixels - CENTRE) / SPREAD).permute(0, 3, 1, 2)

    def pool(self, maps: torch.Tensor) -> torch.Tensor:
        """Features (N, features) of a map."""
        return maps.mean(dim=(2, 3)) if self.arch.pooled else maps


@dataclass(frozen=True, slots=True)
class Extras:
    """What a served model has beyond its layers.

    `temperature` divides the logits (Guo et al., 2017). `heatmap` says whether there is one.
    """

    temperature: float = 1.0
    heatmap: bool = True
    likeness: Likeness | None = None


class Served(nn.Module):
    """The module to export: pixels `image` (N, H, W, C) to named outputs.

    Those of the `objective`, such as `label`; and `heatmap` (N, h, w), 0..1, where the likeliest
    class is seen; and `familiarity` (N, 1), which is low for images unlike those trained on.
    """

    def __init__(self, net: Classifier, objective: Objective, extras: Extras) -> None:
        super().__init__()
        self.net, self.objective, self.extras = net, objective, extras
        if extras.likeness is not None:
            self.register_buffer("centres", torch.from_numpy(extras.likeness.centres))

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """The outputs by name."""
        maps = self.net.map(image)
        features = self.net.pool(maps)
        logits = self.net.head(features)
        found = self.objective.activate(logits, self.extras.temperature)
        if self.extras.heatmap:
            found["heatmap"] = self.explain(maps, logits)
        if self.extras.likeness is not None:
            found["familiarity"] = self.recognise(features)
        return found

    def explain(self, maps: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Where the likeliest class is seen (N, h, w), scaled to 0..1."""
        weight = self.net.head.weight[logits.argmax(dim=1)]
        seen = torch.relu((maps * weight[:, :, None, None]).sum(dim=1))
        return seen / seen.amax(dim=(1, 2), keepdim=True).clamp_min(1e-6)

    def recognise(self, features: torch.Tensor) -> torch.Tensor:
        """The familiarity (N, 1), as `Likeness.score` computes it."""
        units = features / features.norm(dim=1, keepdim=True).clamp_min(EPSILON)
        familiarity: torch.Tensor = (units @ self.centres.T).amax(dim=1, keepdim=True)
        return familiarity
