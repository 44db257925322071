"""The module that is served: a photograph and settings in, a painted picture out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from modelpad.convert import TensorSpec
from modelpad.convert.plans import InputPlan, OutputPlan
from modelpad.convert.pytorch import TorchSource
from modelpad.fields import Image, Number
from modelpad.fields.blend import Blend
from modelpad.fields.steps import Cast
from modelpad.recipes.style.colour import blend
from modelpad.recipes.style.network import STRIDE, Painter

INPUTS = (
    TensorSpec("image", "float32", (None, None, 3), batch_axis=None),
    TensorSpec("style", "float32", (), batch_axis=None),
    TensorSpec("strength", "float32", (), batch_axis=None),
    TensorSpec("preserve_colour", "float32", (), batch_axis=None),
)


class Served(nn.Module):
    """Paints one picture of any size. Large ones would gain nothing from a batch but memory."""

    def __init__(self, painter: Painter) -> None:
        super().__init__()
        self.painter = painter

    def forward(
        self,
        image: torch.Tensor,
        style: torch.Tensor,
        strength: torch.Tensor,
        preserve_colour: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Pixels `image` (H, W, 3), 0..255, in the styles (S,), as `picture` (H, W, 3), 0..255.

        `strength` and `preserve_colour` are scalars, 0..1: see `colour.blend`. The network gets
        whole strides: at the right and the bottom the last pixels are repeated.
        """
        photo = image.permute(2, 0, 1)[None]
        height, width = photo.shape[2], photo.shape[3]
        below, beside = -height % STRIDE, -width % STRIDE
        padded = functional.pad(photo, (0, beside, 0, below), mode="replicate")
        painted = self.painter(padded, style[None])[:, :, :height, :width].clamp(0, 255)
        mixed = blend(painted, photo, strength.reshape(1), preserve_colour.reshape(1))
        return {"picture": mixed[0].permute(1, 2, 0).clamp(0, 255)}


def make_source(painter: Painter, styles: int) -> TorchSource:
    """The painter as a model to be exported."""
    shapes = {"style": (styles,)}
    specs = [
        TensorSpec(spec.name, spec.dtype, shapes.get(spec.name, spec.shape), batch_axis=None)
        for spec in INPUTS
    ]
    return TorchSource(Served(painter).eval(), specs, "Painter", by_trace=True)


def plan_inputs(
    source: TorchSource, names: Sequence[str], pictures: Sequence[str] = ()
) -> list[InputPlan]:
    """The fields of a request; `pictures` are files of the bundle that show the styles."""
    image, style, strength, colour = source.inputs
    single = (Cast("float32"),)
    return [
        InputPlan(Image("image", height=None, width=None), image),
        InputPlan(Blend("style", tuple(names), tuple(pictures)), style),
        InputPlan(Number("strength", minimum=0, maximum=1, default=1.0), strength, single),
        InputPlan(Number("preserve_colour", minimum=0, maximum=1, default=0.0), colour, single),
    ]


def plan_outputs(source: TorchSource) -> list[OutputPlan]:
    """The field of a response."""
    return [OutputPlan(Image("picture", height=None, width=None), source.outputs[0])]
