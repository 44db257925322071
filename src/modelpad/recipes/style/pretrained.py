"""Painters to start from: the weights and the styles of a painter's bundle.

The convolutions know how to paint; a style is only the scales and shifts that follow them (Dumoulin
et al., 2017). So a painter learns another painting in a fraction of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from modelpad.bundle import Bundle
from modelpad.convert.graph import load_onnx
from modelpad.errors import UsageError
from modelpad.fields.blend import Blend
from modelpad.locations import StoreLocation
from modelpad.recipes.style.network import Painter
from modelpad.training.starting import find_start

INSIDE = "inner.painter."  # where the exported module has the painter
NORMS = (".norm.scale", ".norm.shift")


@dataclass(frozen=True, slots=True)
class Pretrained:
    """The weights of a painter that was trained before, and the names of its styles."""

    name: str
    styles: tuple[str, ...]
    weights: dict[str, torch.Tensor]

    def start(self, painter: Painter, names: Sequence[str]) -> None:
        """Gives a painter of the styles `names` these weights; a new style is their mean.

        Raises:
            UsageError: the painters have other shapes.
        """
        values = {}
        for name, value in self.weights.items():
            if name.endswith(NORMS):
                value = torch.stack([self.choose(value, style) for style in names])
            values[name] = value
        try:
            painter.load_state_dict(values)
        except RuntimeError as error:
            raise reject(self.name) from error

    def choose(self, rows: torch.Tensor, style: str) -> torch.Tensor:
        """The row of a style, of one for each of `styles`."""
        return rows[self.styles.index(style)] if style in self.styles else rows.mean(dim=0)


def load_pretrained(reference: str, store: StoreLocation | None) -> Pretrained:
    """The painter that `reference` names: a model, or the folder of a bundle or run.

    Raises:
        ModelNotFound: there is none.
        UsageError: it is another kind of model than `modelpad train style` makes.
    """
    found = find_start(reference, store)
    styles = [each for each in found.bundle.manifest.signature.inputs if isinstance(each, Blend)]
    weights = read_weights(found.bundle) if len(styles) == 1 else {}
    if not weights:
        raise reject(found.name)
    return Pretrained(found.name, styles[0].choices, weights)


def read_weights(bundle: Bundle) -> dict[str, torch.Tensor]:
    """The painter's weights in a bundle's graph, by the network's names."""
    onnx = load_onnx()
    graph = onnx.load(bundle.path(bundle.graph)).graph
    return {
        each.name.removeprefix(INSIDE): torch.tensor(onnx.numpy_helper.to_array(each))
        for each in graph.initializer
        if each.name.startswith(INSIDE)
    }


def reject(name: str) -> UsageError:
    """What to say of another kind of model."""
    return UsageError(
        f"--from {name}: it is not a painter of the style recipe.",
        hint="Start from the bundled one, --from styles, or train one: modelpad train style",
    )
