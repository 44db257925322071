"""Where and how precisely recipes in PyTorch compute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Device:
    """A device, and the type that matrix products are computed in."""

    name: str
    dtype: torch.dtype

    @contextmanager
    def products(self) -> Iterator[None]:
        """Computes matrix products inside the block in the device's type.

        Converted weights are not kept for a second use, as threads would share them.
        """
        narrow = self.dtype != torch.float32
        with torch.autocast(self.name, self.dtype, enabled=narrow, cache_enabled=False):
            yield

    def seed(self, seed: int) -> torch.Generator:
        """Random numbers on the device."""
        return torch.Generator(self.name).manual_seed(seed)

    @property
    def is_accelerator(self) -> bool:
        """Whether it is no CPU."""
        return self.name != "cpu"


def choose_device() -> Device:
    """The GPU if PyTorch has one, else the CPU; in bfloat16 where that is computed in hardware."""
    if torch.cuda.is_available():
        return Device("cuda", torch.bfloat16)
    return Device("cpu", torch.bfloat16 if has_bfloat16() else torch.float32)


def has_bfloat16() -> bool:
    """Whether the CPU multiplies matrices in bfloat16; without, it is far slower than float32."""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, check, bool)() for check in checks)
