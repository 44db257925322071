"""What a recipe is, and what it returns.

A recipe is described by a light module, so that `modelpad recipes` and `--help` load no framework;
its `train` function imports the modules that do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Generic, TypeVar

from modelpad.training.run import Run

if TYPE_CHECKING:
    from modelpad.convert import SourceModel
    from modelpad.convert.input_plan import InputPlan
    from modelpad.convert.output_plan import OutputPlan
    from modelpad.fields.arrays import Arrays
    from modelpad.foreign_json import Json
    from modelpad.training.card import Card
    from modelpad.training.report import Figure

Options = TypeVar("Options")
TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Recipe(Generic[Options]):
    """A kind of model that modelpad can train.

    `extra` is the pip extra it needs. `train` is a function, or `module:function` to import only
    when the training starts. The first of `data_sets` is the default. `variant` names an
    option whose value becomes part of the run folder's name, so that two variants can be compared.
    """

    name: str
    summary: str
    extra: str
    data_sets: tuple[str, ...]
    options: type[Options]
    train: Callable[[Options, Run], Trained] | str
    examples: tuple[str, ...] = ()
    variant: str | None = None

    def load_train(self) -> Callable[[Options, Run], Trained]:
        """The training function, which imports its framework now."""
        if not isinstance(self.train, str):
            return self.train
        module, _, name = self.train.partition(":")
        function: Callable[[Options, Run], Trained] = getattr(import_module(module), name)
        return function

    def folder_name(self, name: str, options: Options) -> str:
        """The run folder's name for a model called `name`."""
        return name if self.variant is None else f"{name}-{getattr(options, self.variant)}"


@dataclass(frozen=True, slots=True)
class Example:
    """An input that the page offers: a value by field as a client sends it, pictures as bytes.

    `expected` is the right answer, if there is one.
    """

    inputs: Mapping[str, bytes | Json]
    expected: str | None = None


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained, tested model, and everything that its bundle and its report say about it.

    `proof` holds decoded inputs by field, (N, ...) each, usually the test split: the bundle must
    predict the same as `source` on all of them, to within `tolerance` of the largest number.
    """

    source: SourceModel
    inputs: Sequence[InputPlan]
    outputs: Sequence[OutputPlan]
    proof: Arrays
    metrics: Mapping[str, float]
    card: Card
    examples: Sequence[Example] = ()
    figures: Sequence[Figure] = ()
    tolerance: float = TOLERANCE
