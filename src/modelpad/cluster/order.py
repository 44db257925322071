"""A training to be done elsewhere, what it needs there, and what came of it: plain values."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from modelpad.training.run import BUNDLE, REPORT

LOST = 1  # the exit code of a training whose own is unknown

# What comes back of a run: not its checkpoints, which only the machine of the training needs.
RETURNED = (BUNDLE, REPORT, "report.html", "graph.svg", "history.csv")


@dataclass(frozen=True, slots=True)
class Order:
    """`modelpad train ARGUMENTS`, in a folder where `inputs` are unpacked (see `inputs`).

    `name` is the model's. `columns` is the width of the terminal that shows the log; 0 without one.
    """

    name: str
    arguments: tuple[str, ...]
    inputs: bytes
    columns: int = 0

    @property
    def digest(self) -> str:
        """Equal for orders of the same training, wherever they are shown."""
        known = "\0".join([self.name, *self.arguments]).encode() + b"\0" + self.inputs
        return hashlib.sha256(known).hexdigest()


@dataclass(frozen=True, slots=True)
class Resources:
    """What a cluster reserves for each of a training's workers."""

    cpus: float
    gpus: float
    workers: int = 1

    def __str__(self) -> str:
        each = self.name_share()
        return each if self.workers == 1 else f"{self.workers} workers with {each} each"

    @property
    def shares(self) -> dict[str, float]:
        """What one worker gets, by Ray's names."""
        return {"CPU": self.cpus, "GPU": self.gpus}

    def name_share(self) -> str:
        """What one worker gets, in words."""
        parts = self.shares.items()
        words = [f"{count:g} {unit}{'s' * (count != 1)}" for unit, count in parts if count]
        return " and ".join(words) or "a place"


@dataclass(frozen=True, slots=True)
class Finished:
    """The exit code of a training, what it printed as JSON, and the files of its run."""

    code: int
    facts: dict[str, Any] = field(default_factory=dict)
    run: bytes = b""
