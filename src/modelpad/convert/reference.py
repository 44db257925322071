"""The source model's own predictions for raw items: what a graph is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from modelpad.convert.source import SourceModel
from modelpad.errors import ConversionFailed, first_line
from modelpad.fields.arrays import Arrays

KEPT = 7  # items whose predictions are remembered, alone and together


class Reference:
    """A source model and the items to run it on: arrays by tensor name, without a batch axis.

    The predictions for the first items are remembered, as several checks need them.
    """

    def __init__(
        self,
        source: SourceModel,
        items: Sequence[Arrays],
        axes: Mapping[str, int | None] | None = None,
    ) -> None:
        """`axes` are the inputs' batch axes, by default the source's."""
        self.source = source
        self.items = items
        self.axes = axes or {spec.name: spec.batch_axis for spec in source.inputs}
        self._known: dict[tuple[int, ...], Arrays] = {}

    def stack(self, picked: Sequence[int]) -> Arrays:
        """The model's inputs for some items; for one item where a tensor has no batch axis."""
        return stack_items([self.items[index] for index in picked], self.axes)

    def predict(self, picked: tuple[int, ...]) -> Arrays:
        """The model's outputs for some items. Raises `ConversionFailed` if it fails."""
        if picked in self._known:
            return self._known[picked]
        outputs = run_source(self.source, self.stack(picked))
        if max(picked) < KEPT:
            self._known[picked] = outputs
        return outputs

    def alike(self) -> list[int]:
        """The items with the same shapes as the first: only they fit into one batch."""

        def shapes(item: Arrays) -> dict[str, tuple[int, ...]]:
            return {name: array.shape for name, array in item.items()}

        first = shapes(self.items[0])
        return [index for index, item in enumerate(self.items) if shapes(item) == first]


def stack_items(items: Sequence[Arrays], axes: Mapping[str, int | None]) -> Arrays:
    """Items without a batch axis as a model's inputs. Without a batch axis, only one fits."""
    return {
        name: items[0][name]
        if axis is None
        else np.stack([item[name] for item in items], axis=axis)
        for name, axis in axes.items()
    }


def run_source(source: SourceModel, batch: Arrays) -> Arrays:
    """The source model's outputs for its raw inputs. Raises `ConversionFailed` if it fails."""
    try:
        return source.run(batch)
    except Exception as error:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in batch.items())
        raise ConversionFailed(
            f"The {source.framework} model fails on {shapes}: {first_line(error, 200)}",
            hint="Describe its inputs with --input, or give suitable --samples.",
        ) from error
