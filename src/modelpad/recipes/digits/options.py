"""What a training is asked for, and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelpad.errors import UsageError

if TYPE_CHECKING:
    from modelpad.bundle import Bundle


@dataclass(frozen=True, slots=True)
class Schedule:
    """How an architecture is trained unless it is asked for otherwise."""

    epochs: int
    batch_size: int
    augmentation: str = "none"


# The classics as the books describe them; `best` is ours, and fits two cores in five minutes.
SCHEDULES = {
    "best": Schedule(epochs=12, batch_size=128, augmentation="affine-elastic"),
    "conv": Schedule(epochs=12, batch_size=128),
    "mini": Schedule(epochs=4, batch_size=64, augmentation="shear-zoom"),
    "mlp": Schedule(epochs=5, batch_size=32),
}


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """One training. `epochs` None means the architecture's own; `limit` cuts every split."""

    run_folder: Path
    architecture: str = "best"
    data: str = "mnist"
    name: str = "digits"
    epochs: int | None = None
    seed: int = 0
    resume: bool = False
    roots: tuple[Path, ...] = ()
    cache: Path | None = None
    limit: int | None = None
    skip_unreadable: bool = False

    def __post_init__(self) -> None:
        if self.architecture not in SCHEDULES:
            raise UsageError(
                f"There is no architecture {self.architecture!r}.",
                hint=f"There is: {', '.join(sorted(SCHEDULES))}.",
            )
        if (self.epochs is not None and self.epochs < 1) or (
            self.limit is not None and self.limit < 20
        ):
            raise UsageError(
                "--epochs must be at least 1, and --limit at least 20.",
                hint="See: modelpad train --help",
            )

    @property
    def schedule(self) -> Schedule:
        """The architecture's schedule."""
        return SCHEDULES[self.architecture]


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A trained, checked bundle in the run's folder, and its figures (accuracies from 0 to 1)."""

    bundle: Bundle
    metrics: Mapping[str, float]
    data: str
    stopped_early: bool
