"""A search: trials one after the other, each a training that ends before its test; then the best.

    search = Search(recipe, options, request, plan)
    search.run(show)
    outcome = search.finish(out, store)

Trials are judged by their validation metrics. Only the best is tested, once, by `finish`.
"""

from __future__ import annotations

import gc
import io
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from modelpad.errors import ModelpadError, TrainingFailed, UsageError
from modelpad.foreign_json import Json
from modelpad.training.checkpoint import read_checkpoint
from modelpad.training.pipeline import Outcome, list_facts, train
from modelpad.training.ranges import Space, describe_space
from modelpad.training.recipe import Recipe
from modelpad.training.run import CHECKPOINT, TrainRequest
from modelpad.training.run_folder import hold_folder
from modelpad.training.trial import TrialEnded
from modelpad.tuning.journal import Journal, TrialRecord
from modelpad.tuning.judge import Judge, OutOfTime
from modelpad.tuning.proposals import Proposal
from modelpad.tuning.space import choose_space, name_settings, with_values

if TYPE_CHECKING:
    from modelpad.datasets import Progress
    from modelpad.store import Store


REPORT = "search.html"
NO_MEMORY = ("out of memory", "not enough memory", "allocate memory")  # in PyTorch's errors

WatchTrial = Callable[[int, float, str], None]
"""Hears the number of the trial, which share of it is done, and its step."""


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """How much to search: `trials`, and `timeout_s` after which none begins or goes on.

    `settings` are ranges of options, `NAME=LOW..HIGH`.
    """

    trials: int = 20
    timeout_s: float | None = None
    settings: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise UsageError(f"--trials is {self.trials}.", hint="Give 1 or more; 20 is usual.")
        if self.timeout_s is not None and not 0 < self.timeout_s < math.inf:
            minutes = self.timeout_s / 60
            raise UsageError(f"--timeout is {minutes:g}.", hint="Give minutes, more than 0.")


def in_search_folder(request: TrainRequest) -> TrainRequest:
    """The request with the folder of a search, beside that of a run."""
    return replace(request, folder=request.folder.with_name(f"{request.folder.name}-search"))


class Search:
    """The trials of a recipe with some options, in the folder of the request.

    Raises `UsageError` for a space that is not valid, and `TrainingFailed` if there is nothing to
    resume, or the search had other settings.
    """

    def __init__(
        self,
        recipe: Recipe[Any],
        options: object,
        request: TrainRequest,
        plan: SearchPlan,
        data_progress: Progress | None = None,
        watch: WatchTrial | None = None,
    ) -> None:
        self.recipe, self.options, self.request, self.plan = recipe, options, request, plan
        self.metric, self.folder = recipe.judged_by, request.folder
        self.space: Space = choose_space(recipe, options, plan.settings)
        self._data_progress, self._watch = data_progress, watch
        self._first = {name: self.space[name] for name in name_settings(plan.settings, recipe)}
        self._journal = self._open_journal()
        self._is_begun = request.resume
        self._started_s = time.monotonic()
        self.interrupted = False

    @property
    def records(self) -> Sequence[TrialRecord]:
        """The trials that have ended."""
        return self._journal.records

    @property
    def best(self) -> TrialRecord | None:
        """The finished trial with the lowest loss, if there is one."""
        finished = [each for each in self.records if each.state == "finished"]
        return min(finished, key=lambda each: each.loss, default=None)

    @property
    def default(self) -> TrialRecord | None:
        """The trial of the recipe's defaults, if it has finished."""
        first = next(iter(self.records), None)
        return first if first and not first.values and first.state == "finished" else None

    def run(self, show: Callable[[TrialRecord], None]) -> None:
        """Runs the trials that are left, and shows each when it has ended. Ctrl-C ends the search.

        Raises as `modelpad.training.pipeline.train`, if the first trial fails.
        """
        try:
            with hold_folder(self.folder):
                while len(self.records) < self.plan.trials and not self._is_late():
                    record = self._run_trial()
                    self._begin()
                    self._journal.append(record)
                    self._remove_worse()
                    show(record)
        except OutOfTime:
            return
        except KeyboardInterrupt:
            self.interrupted = True

    def finish(self, out: TextIO, store: Store | None) -> Outcome:
        """Tests and saves the model of the best trial, with the search on its card.

        Raises `TrainingFailed` if no trial has finished; else as `train`.
        """
        best = self.best
        if best is None:
            raise self._explain_failure()
        chosen = with_values(self.recipe, self.options, best.values)
        request = replace(
            self._plan_trial(best.number, chosen),
            origin={**self.request.origin, **self.describe()},
            notes=(*self.request.notes, self.write_note()),
        )
        return train(self.recipe, chosen, request, out=out, store=store)

    def describe(self) -> dict[str, Json]:
        """The search in the manifest."""
        best = self.best
        return {
            "search_trials": len(self.records),
            "search_space": describe_space(self.space),
            f"search_{self.metric}": None if best is None else best.loss,
        }

    def write_note(self) -> str:
        """The search on the card."""
        best, default = self.best, self.default
        assert best is not None
        counted = f"{len(self.records)} trial{'s' * (len(self.records) != 1)}"
        searched = f"search of {counted} over {describe_space(self.space)}"
        if best is default:
            found = f"A {searched} found no lower {self.metric} than that of the recipe's defaults,"
            found = f"{found} {best.loss:.5f}."
        else:
            usual = f"; with the recipe's defaults it is {default.loss:.5f}" if default else ""
            found = f"Options chosen by a {searched}: their {self.metric}, {best.loss:.5f}, is the"
            found = f"{found} lowest{usual}."
        return (
            f"{found} The validation split alone decided, so its figure is flattering; the test"
            " split was read after that."
        )

    def name_folder(self, number: int) -> Path:
        """The run folder of a trial."""
        return self.folder / f"trial-{number:03}"

    def _run_trial(self) -> TrialRecord:
        number = len(self.records) + 1
        # The first trial is what a training would be, so that a search does not end below it.
        space = self._first if number == 1 else self.space
        proposal = Proposal(space, self.records, self.request.seed)
        judge = Judge(self.metric, proposal, lambda: bool(self.records) and self._is_late())
        begun = time.monotonic()
        try:
            self._train(number, proposal.values, judge)
        except OutOfTime:
            raise
        except TrialEnded:
            pass
        except (ModelpadError, MemoryError, RuntimeError) as error:
            judge.fail(explain_failure(error, is_first=not self.records))
        gc.collect()  # frameworks keep circles of references to large arrays
        return TrialRecord(
            number=number,
            values=proposal.values,
            state=judge.state,
            losses=judge.losses,
            epochs=judge.epochs,
            seconds=round(time.monotonic() - begun, 1),
            reason=judge.reason,
            used=judge.used,
        )

    def _train(self, number: int, values: Mapping[str, float], judge: Judge) -> None:
        options = with_values(self.recipe, self.options, values)
        request = self._plan_trial(number, options)

        def watch(share: float, step: str) -> None:
            self._begin()
            if self._watch is not None:
                self._watch(number, share, step)

        train(
            self.recipe,
            options,
            request,
            out=io.StringIO(),
            data_progress=self._data_progress,
            watch=watch,
            trial=judge,
        )

    def _is_late(self) -> bool:
        limit = self.plan.timeout_s
        return limit is not None and time.monotonic() - self._started_s > limit

    def _plan_trial(self, number: int, options: object) -> TrainRequest:
        """The request of a trial, which goes on from its own checkpoint if there is one."""
        folder = self.name_folder(number)
        request = replace(self.request, folder=folder, resume=False)
        found = read_checkpoint(folder / CHECKPOINT) if self._is_begun else None
        facts = list_facts(self.recipe, options, request)
        return replace(request, resume=found is not None and found.state.get("facts") == facts)

    def _open_journal(self) -> Journal:
        facts = {
            **list_facts(self.recipe, self.options, self.request),
            "epochs": self.request.epochs,
            "space": {name: asdict(each) for name, each in self.space.items()},
        }
        if self.request.resume:
            return Journal.resume(self.folder, facts)
        return Journal(self.folder, facts)

    def _begin(self) -> None:
        """Replaces an earlier search, once it is certain that the first trial can be trained."""
        if self._is_begun:
            return
        self._is_begun = True
        for path in self.folder.glob("trial-*"):
            if path != self.name_folder(1):
                shutil.rmtree(path)
        (self.folder / REPORT).unlink(missing_ok=True)
        self._journal.begin()

    def _remove_worse(self) -> None:
        """Removes the run folders of all trials but the best."""
        kept = None if self.best is None else self.name_folder(self.best.number)
        for path in self.folder.glob("trial-*"):
            if path != kept:
                shutil.rmtree(path)

    def _explain_failure(self) -> TrainingFailed:
        failed = [each.reason for each in self.records if each.reason]
        if failed:
            return TrainingFailed(
                f"No trial has finished: {failed[0]}.", hint="Narrow the ranges, as with --set."
            )
        return TrainingFailed(
            "Stopped before the first trial finished, so there is no model to keep.",
            hint="Go on with --resume, or use less data: --limit 5000",
        )


def explain_failure(error: Exception, *, is_first: bool) -> str:
    """Why a trial failed. Raises the error again if it is a bug, or the search cannot go on."""
    if isinstance(error, ModelpadError):
        if is_first:
            raise error
        return error.message
    if not isinstance(error, MemoryError) and not any(n in str(error).lower() for n in NO_MEMORY):
        raise error
    if is_first:
        raise TrainingFailed(
            "There is not enough memory for the first trial.",
            hint="Use less data (--limit 5000), a smaller --batch-size or network.",
        ) from error
    return "out of memory"
