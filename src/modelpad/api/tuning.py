"""`modelpad.tune`: searches the options of a recipe, as `modelpad tune` does."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelpad.api.training import Training, describe_training, read_request
from modelpad.recipes import load_searchable
from modelpad.training.data_progress import ProgressPrinter
from modelpad.tuning.command import describe_trial, describe_values, write_command
from modelpad.tuning.space import write_setting

if TYPE_CHECKING:
    from modelpad.tuning.journal import TrialRecord

Space = Mapping[str, tuple[float, float]]


def tune(
    recipe: str,
    data: str | os.PathLike[str] | None = None,
    *,
    trials: int = 20,
    timeout: float | None = None,
    space: Space | None = None,
    name: str | None = None,
    epochs: int | None = None,
    seed: int = 0,
    resume: bool = False,
    limit: int | None = None,
    skip_unreadable: bool = False,
    runs: str | os.PathLike[str] = "runs",
    store: str | os.PathLike[str] | None = None,
    **options: object,
) -> Tuning:
    """Trains a recipe with other options, by turns, and adds the best model to the store.

        modelpad.tune("digits", trials=20, space={"learning_rate": (1e-4, 1e-2)}).command

    Trials are judged by the validation split; the best alone is tested, once. `timeout` is in
    minutes, and `space` has ranges that replace or extend those of the recipe. The other arguments
    are those of `modelpad.train`; an option that is given is the same in all trials. Progress goes
    to standard error, a line for each trial. Ctrl-C, or interrupting a notebook's cell, ends the
    search with the best trial so far; `resume` goes on with one that was stopped.

    Raises:
        UsageError: the recipe has nothing to search, or an argument is not valid.
        MissingExtra: Optuna, or a package that the recipe needs, is not installed.
        TrainingFailed: nothing to resume, or stopped before the first trial ended.
        DataSetNotFound, DataSetInvalid, ParityFailed: as `modelpad.train`.
    """
    from modelpad.tuning.report import write_report
    from modelpad.tuning.search import REPORT, Search, SearchPlan, in_search_folder

    chosen = load_searchable(recipe)
    settings = tuple(write_setting(each, *ends) for each, ends in (space or {}).items())
    plan = SearchPlan(trials, None if timeout is None else 60 * timeout, settings)
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
    search = Search(chosen, built, in_search_folder(request), plan, progress)
    search.run(lambda record: print(describe_trial(search, record), file=out, flush=True))
    outcome = search.finish(out, target)
    write_report(search, name)
    best = search.best
    assert best is not None
    return Tuning(
        training=describe_training(outcome, search.name_folder(best.number), target),
        trials=tuple(search.records),
        best=best,
        command=write_command(search, best, name),
        report=search.folder / REPORT,
    )


@dataclass(frozen=True, slots=True, repr=False)
class Tuning:
    """A finished search: its trials, and the training of the best, which is in the store.

    `command` trains the same model again. `report` is a page with all trials.
    """

    training: Training
    trials: tuple[TrialRecord, ...]
    best: TrialRecord
    command: str
    report: Path

    def __repr__(self) -> str:
        count, values = len(self.trials), describe_values(self.best.values)
        return f"<Tuning of {count} trials, the best with {values}: {self.training!r}>"
