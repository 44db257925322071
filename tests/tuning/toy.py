"""A recipe whose validation loss is known: the distance of `x` from 0.3, plus what wears off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modelpad.training.options import option
from modelpad.training.ranges import Range, Space
from modelpad.training.recipe import Recipe, Trained
from modelpad.training.run import Run

EPOCHS = 4
at_epoch: list[Callable[[int], None]] = []


@dataclass(frozen=True, slots=True)
class Options:
    x: float = option(1.0, "where to be", metavar="X")
    width: int = option(64, "a multiple of 64", metavar="N")
    kind: Literal["a", "b"] = option("a", "which")


def search_space(options: Options) -> Space:
    return {"x": Range(0.0, 1.0)}


def train(options: Options, run: Run) -> Trained:
    run.set_epochs(EPOCHS)
    run.use(x=options.x)
    with run.interruptible():
        for epoch in run.remaining_epochs():
            for call in at_epoch:
                call(epoch)
            run.progress(epoch, 1, 1, {})
            loss = abs(options.x - 0.3) + 1 / (epoch + 1)
            run.log(epoch, {"val_loss": loss})
            run.save(lambda folder: None, loss=loss)
    run.restore_best(lambda folder: None)
    raise AssertionError("a trial was tested")


RECIPE = Recipe(
    name="toy",
    summary="a number",
    extra="train",
    data_sets=("uci-digits",),
    options=Options,
    train=train,
    search_space=search_space,
)


def folder_of(run: Path) -> list[str]:
    """What is left in the folder of a search."""
    return sorted(path.name for path in run.iterdir())
