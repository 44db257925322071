"""The definition of a recipe, and of what its training returns.

A recipe is defined in a lightweight module, so that `modelpad recipes` and `--help` load no
framework; its `train` function imports the heavy modules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Generic, TypeVar

from modelpad.training.findings import Figure, Findings, join_findings
from modelpad.training.ranges import Space
from modelpad.training.run import Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelpad.convert import SourceModel
    from modelpad.convert.plans import InputPlan, OutputPlan
    from modelpad.convert.sequences import SequenceSource
    from modelpad.fields import Signature
    from modelpad.fields.arrays import Arrays
    from modelpad.foreign_json import Json
    from modelpad.training.card import Card

Options = TypeVar("Options")
TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Recipe(Generic[Options]):
    """A kind of model that modelpad can train.

    `extra` is the pip extra it needs. `train` is a function, or `module:function` to be
    imported when training starts. The first of `data_sets` is the default. `variant` names an
    option whose value becomes part of the run folder's name, to keep variants apart.
    `named_after_data`: by default a model is called after its data set, not after the recipe.
    `search_space` has the options that a search varies, for the others as they are; `judged_by` is
    the validation metric that it minimises. `data_parallel`: several processes can train one model
    (see `parallel`).
    """

    name: str
    summary: str
    extra: str
    data_sets: tuple[str, ...]
    options: type[Options]
    train: Callable[[Options, Run], Trained | TrainedSequence] | str
    examples: tuple[str, ...] = ()
    variant: str | None = None
    named_after_data: bool = False
    search_space: Callable[[Options], Space] | None = None
    judged_by: str = "val_loss"
    data_parallel: bool = False

    def load_train(self) -> Callable[[Options, Run], Trained | TrainedSequence]:
        """The training function; this imports its framework."""
        if not isinstance(self.train, str):
            return self.train
        module, _, name = self.train.partition(":")
        function: Callable[[Options, Run], Trained | TrainedSequence] = getattr(
            import_module(module), name
        )
        return function

    def folder_name(self, name: str, options: Options) -> str:
        """The run folder's name for a model called `name`."""
        return name if self.variant is None else f"{name}-{getattr(options, self.variant)}"


@dataclass(frozen=True, slots=True)
class Example:
    """An example input for the web page: field values as a client sends them, images as bytes.

    `expected` is the correct prediction, if known.
    """

    inputs: Mapping[str, bytes | Json]
    expected: str | None = None


@dataclass(frozen=True, slots=True)
class TrainedSequence:
    """A trained, tested model of token sequences, and everything its bundle and report need.

    `proof` are token sequences int64 (T,) on which the graph, piece by piece, must match `source`
    to within `tolerance` of the largest output. `findings` are those of the test.
    """

    source: SequenceSource
    task: str
    signature: Signature
    proof: Sequence[NDArray[np.int64]]
    metrics: Mapping[str, float]
    card: Card
    findings: Findings = field(default_factory=Findings)
    examples: Sequence[Example] = ()
    figures: Sequence[Figure] = ()
    tolerance: float = TOLERANCE


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained, tested model, and everything its bundle and report need.

    `proof` maps fields to decoded inputs (N, ...) for the parity check, usually the test split: on
    all of them the bundle must match `source` to within `tolerance` of the largest output.
    `findings` are those of the test, `metrics` and `figures` what the recipe adds to them. `files`
    are further files of the bundle, by path.
    """

    source: SourceModel
    inputs: Sequence[InputPlan]
    outputs: Sequence[OutputPlan]
    proof: Arrays
    metrics: Mapping[str, float]
    card: Card
    findings: Findings = field(default_factory=Findings)
    examples: Sequence[Example] = ()
    figures: Sequence[Figure] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    tolerance: float = TOLERANCE


def all_findings(trained: Trained | TrainedSequence) -> Findings:
    """The findings of the test with the recipe's own metrics and figures."""
    own = Findings(metrics=trained.metrics, figures=trained.figures)
    return join_findings(trained.findings, own)
