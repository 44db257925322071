"""Specs of PyTorch's inputs and outputs: bounds of indices, fixed batches, distinct names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from modelpad.convert.source import TensorSpec

if TYPE_CHECKING:
    import torch


@dataclass(slots=True)
class Limits:
    """The number of rows of the embedding that each of `values` went into, by position."""

    values: Sequence[torch.Tensor]
    rows: dict[int, int] = field(default_factory=dict)

    def apply(self, specs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
        """The specs with limits, where they have none yet."""
        return tuple(
            replace(spec, limit=self.rows.get(index)) if spec.limit is None else spec
            for index, spec in enumerate(specs)
        )


@contextlib.contextmanager
def find_limits(module: torch.nn.Module, values: Sequence[torch.Tensor]) -> Iterator[Limits]:
    """Records which of `values` go into embeddings, while the module runs on them."""
    import torch

    found = Limits(values)
    places = {value.data_ptr(): index for index, value in enumerate(values)}

    def record(layer: torch.nn.Module, arguments: tuple[object, ...]) -> None:
        indices = arguments[0] if arguments else None
        if isinstance(indices, torch.Tensor) and isinstance(layer.num_embeddings, int):
            index = places.get(indices.data_ptr())
            if index is not None:
                before = found.rows.get(index, layer.num_embeddings)
                found.rows[index] = min(before, layer.num_embeddings)

    kinds = (torch.nn.Embedding, torch.nn.EmbeddingBag)
    layers = [layer for layer in module.modules() if isinstance(layer, kinds)]
    hooks = [layer.register_forward_pre_hook(record) for layer in layers]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def fix_batch(spec: TensorSpec) -> TensorSpec:
    """The spec of an input that always has a batch of one."""
    if spec.batch_axis is None:
        return spec
    shape = [*spec.shape]
    shape[spec.batch_axis] = 1
    return replace(spec, shape=tuple(shape), batch_axis=None)


def make_distinct(
    specs: Sequence[TensorSpec], taken: Iterable[TensorSpec] = ()
) -> tuple[TensorSpec, ...]:
    """The specs under their own names; one that repeats, or is `taken`, has a number appended."""
    used = {spec.name for spec in taken}
    distinct = []
    for spec in specs:
        name, number = spec.name, 1
        while name in used:
            number += 1
            name = f"{spec.name}_{number}"
        used.add(name)
        distinct.append(spec.renamed(name))
    return tuple(distinct)
