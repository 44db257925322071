"""Computes gradients and predictions in parts, each on cores of its own.

The operations of these networks are small: cores that share each of them wait for each other, the
more so the busier the machine is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn

from modelpad.training.device import Device
from modelpad.training.seeding import derive_seed

MIN_TEXTS = 8  # of a part: products with fewer rows are slow
MAX_PARTS = 4  # each writes gradients of all weights

Item = TypeVar("Item")
Found = TypeVar("Found")


class Parts:
    """Cores of a device, and the parts that they compute.

    On a CPU there are as many parts as cores, up to 4, so sums may differ by rounding between
    machines with other numbers of cores. An accelerator computes a batch as a whole.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        cores = torch.get_num_threads()
        self.count = 1 if device.is_accelerator else min(cores, MAX_PARTS)
        self._pool = ThreadPoolExecutor(
            self.count, "gradients", lambda: torch.set_num_threads(cores // self.count)
        )

    def divide(self, texts: int) -> list[slice]:
        """The texts of each part, as equal in number as possible."""
        count = max(1, min(self.count, texts // MIN_TEXTS))
        bounds = [texts * part // count for part in range(count + 1)]
        return [slice(*each) for each in pairwise(bounds)]

    def compute_gradients(
        self,
        parameters: Iterable[nn.Parameter],
        texts: int,
        seed: int,
        measure: Callable[[slice, torch.Generator], tuple[Tensor, Found]],
        weight: float = 1.0,
    ) -> tuple[Tensor, list[Found]]:
        """Sets the gradients of the mean loss of a batch of so many texts, times `weight`.

        `measure` gives the mean loss of some texts, with random numbers of their own, and something
        else. Returns the loss of the batch, and what each part gave beside its own.
        """
        trained = [each for each in parameters if each.requires_grad]
        parts = self.divide(texts)

        def compute(number: int) -> tuple[Tensor, Found, Sequence[Tensor | None]]:
            part = parts[number]
            loss, found = measure(part, self.device.seed(derive_seed(seed, number)))
            loss = loss * (weight * (part.stop - part.start) / texts)
            return loss.detach(), found, torch.autograd.grad(loss, trained, allow_unused=True)

        run = self._pool.map if len(parts) > 1 else map
        (total, first, sums), *others = run(compute, range(len(parts)))
        for loss, _, gradients in others:
            total = total + loss
            sums = [_add(*each) for each in zip(sums, gradients, strict=True)]
        for parameter, gradient in zip(trained, sums, strict=True):
            parameter.grad = gradient
        return total, [first, *(found for _, found, _ in others)]

    def predict(self, judge: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
        """What `judge` finds in each item, computed without gradients."""

        def compute(item: Item) -> Found:
            with torch.no_grad():
                return judge(item)

        run = self._pool.map if self.count > 1 else map
        return list(run(compute, items))


def _add(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return other if one is None else one if other is None else one.add_(other)
