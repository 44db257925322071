"""`modelpad.train`: from data to a new version in the store, as `modelpad train` does."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelpad.api.cards import write_card
from modelpad.locations import StoreLocation, locate_cache, locate_data, locate_store
from modelpad.recipes import load_recipe
from modelpad.recipes.naming import describe_metrics
from modelpad.recipes.request import build_request
from modelpad.store import open_store
from modelpad.training.data_progress import ProgressPrinter
from modelpad.training.options import build_options, check_options
from modelpad.training.run import REPORT, TrainRequest

if TYPE_CHECKING:
    from modelpad.api.models import Model
    from modelpad.api.serving import Server
    from modelpad.bundle import Bundle
    from modelpad.store import Store
    from modelpad.training.pipeline import Outcome
    from modelpad.training.recipe import Recipe

SHOWN_METRICS = 2


def train(
    recipe: str,
    data: str | os.PathLike[str] | None = None,
    *,
    name: str | None = None,
    epochs: int | None = None,
    seed: int = 0,
    resume: bool = False,
    limit: int | None = None,
    skip_unreadable: bool = False,
    runs: str | os.PathLike[str] = "runs",
    store: str | os.PathLike[str] | None = None,
    **options: object,
) -> Training:
    """Trains a model, checks its parity and adds it to the store as the next version.

        modelpad.train("images", "pets/", epochs=5).load()("cat.jpg").label

    `recipe` is one of `modelpad recipes`, `data` the name of a data set or the path of a folder or
    table, by default the recipe's own. The other arguments are the options of
    `modelpad train RECIPE --help`, such as `arch="small"`: a switch is `True`, and one that may be
    repeated a list. Progress goes to standard error. Ctrl-C, or interrupting a notebook's cell,
    ends training and keeps the best epoch.

    Raises:
        UsageError: the recipe, an option or the name is not valid.
        DataSetNotFound, DataSetInvalid: the data is missing, or unsuitable for training.
        MissingExtra: a package that the recipe needs is not installed.
        TrainingFailed: nothing to resume, or stopped before the first epoch ended.
        ParityFailed: the bundle's predictions differ from the trained model's; nothing is saved.
    """
    from modelpad.training.pipeline import train as run_training

    chosen = load_recipe(recipe)
    built, request, target = read_request(
        chosen,
        data,
        options,
        store,
        name=name,
        runs=runs,
        epochs=epochs,
        seed=seed,
        resume=resume,
        limit=limit,
        skip_unreadable=skip_unreadable,
    )
    out = sys.stderr
    progress = ProgressPrinter(out, live=out.isatty())
    outcome = run_training(chosen, built, request, out=out, store=target, data_progress=progress)
    return describe_training(outcome, request.folder, target)


def read_request(
    recipe: Recipe[Any],
    data: str | os.PathLike[str] | None,
    options: Mapping[str, object],
    store: str | os.PathLike[str] | None,
    *,
    name: str | None,
    runs: str | os.PathLike[str],
    **common: Any,
) -> tuple[Any, TrainRequest, Store]:
    """The recipe's options, the request, and the store, as `modelpad train` reads them.

    `common` are the other fields of the request. Raises `UsageError`.
    """
    target = open_store(locate_store(store, os.environ))
    built = build_options(recipe.options, check_options(recipe.options, options))
    request = build_request(
        recipe,
        built,
        None if data is None else os.fspath(data),
        target,
        name=name,
        runs=Path(runs),
        roots=locate_data(os.environ),
        cache=locate_cache(os.environ),
        **common,
    )
    return built, request, target


def describe_training(outcome: Outcome, folder: Path, store: Store) -> Training:
    """A training whose version is in the store."""
    assert outcome.entry is not None
    entry = outcome.entry
    return Training(
        name=entry.name,
        version=entry.version,
        bundle=store.open(f"{entry.name}@{entry.version}", verify=False),
        data=outcome.data,
        run_folder=folder,
        store=store.location,
        stopped_early=outcome.stopped_early,
        warnings=outcome.warnings,
    )


@dataclass(frozen=True, slots=True, repr=False)
class Training:
    """A finished training: the version in the store, and the run folder with its logs.

    `stopped_early` tells that it was interrupted, and `warnings` what the test found.
    """

    name: str
    version: int
    bundle: Bundle
    data: str
    run_folder: Path
    store: StoreLocation
    stopped_early: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """The bundle's folder."""
        return self.bundle.folder

    @property
    def metrics(self) -> Mapping[str, float]:
        """What the test has measured, such as `test_accuracy`."""
        return self.bundle.manifest.metrics

    @property
    def report(self) -> Path:
        """The report: learning curves, mistakes, scores of each class."""
        return self.run_folder / f"{REPORT}.html"

    def load(self, **options: Any) -> Model:
        """The model, to predict in this process; the options are those of `modelpad.load`."""
        from modelpad.api.models import load

        return load(f"{self.name}@{self.version}", store=self.store, **options)

    def serve(self, **options: Any) -> Server:
        """A server of the model; the options are those of `modelpad.serve`."""
        from modelpad.api.serving import serve

        return serve(self, **{"store": self.store, **options})

    def __repr__(self) -> str:
        stopped = ", stopped early" if self.stopped_early else ""
        metrics = describe_metrics(dict([*self.metrics.items()][:SHOWN_METRICS]))
        return (
            f"<Training of {self.name} version {self.version} on {self.data}: {metrics}{stopped}>"
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: the card, and where the report is."""
        card = write_card(self.name, self.version, self.bundle)
        return f"{card}<div><small>Report: {self.report}</small></div>"
