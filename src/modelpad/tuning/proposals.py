"""Chooses the values of the next trial, and ends poor trials early, with Optuna.

Values are proposed by a tree-structured Parzen estimator (Bergstra et al., 2011) after a few random
ones. A trial is pruned when its best epoch is worse than the median of the others at that point
(Golovin et al., 2017). A proposal depends on the seed and the trials before it alone, so that a
search that was killed goes on as it would have.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from modelpad.errors import MissingExtra
from modelpad.training.ranges import Range, Space
from modelpad.training.seeding import derive_seed
from modelpad.tuning.journal import TrialRecord

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

RANDOM = 6  # trials, the first with the defaults, before there is enough to learn from
UNPRUNED = 4  # trials that are trained to the end, to compare others with
JUDGED_FROM = 0.25  # of the epochs; before that, figures say little
ENOUGH = 10  # finished trials, to say which options matter


class Proposal:
    """The values of a trial, and whether it is worth going on with."""

    def __init__(self, space: Space, records: Sequence[TrialRecord], seed: int) -> None:
        """`records` are the trials before it. Raises `MissingExtra` without Optuna."""
        with quiet_optuna():
            self._trial = build_study(space, records, derive_seed(seed, len(records))).ask()
            suggested = {name: self._suggest(name, each) for name, each in space.items()}
        self.values: Mapping[str, float] = suggested
        self._reported = 0

    def is_poor(self, losses: Sequence[float], epochs: int) -> bool:
        """Whether the trial is to be pruned after the epochs that had these losses."""
        for step in range(self._reported, len(losses)):
            self._trial.report(losses[step], step)
        self._reported = len(losses)
        return JUDGED_FROM * epochs < len(losses) < epochs and self._trial.should_prune()

    def _suggest(self, name: str, each: Range) -> float:
        if each.is_whole:
            low, high = int(each.low), int(each.high)
            return self._trial.suggest_int(name, low, high, log=each.log)
        return each.round(self._trial.suggest_float(name, each.low, each.high, log=each.log))


def build_study(space: Space, records: Sequence[TrialRecord], seed: int = 0) -> Study:
    """A study with the trials so far, by the values that were in effect, where in their ranges."""
    import optuna

    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED),
    )
    states = {
        "finished": optuna.trial.TrialState.COMPLETE,
        "pruned": optuna.trial.TrialState.PRUNED,
        "failed": optuna.trial.TrialState.FAIL,
    }
    for record in records:
        tried = {name: n for name, n in record.tried(space).items() if n in space[name]}
        study.add_trial(
            optuna.trial.create_trial(
                state=states[record.state],
                value=record.loss if record.state == "finished" else None,
                params=tried,
                distributions={name: describe_range(space[name]) for name in tried},
                intermediate_values=dict(enumerate(record.losses)),
            )
        )
    return study


def describe_range(each: Range) -> BaseDistribution:
    """A range as Optuna has it."""
    from optuna.distributions import FloatDistribution, IntDistribution

    if each.is_whole:
        return IntDistribution(int(each.low), int(each.high), log=each.log)
    return FloatDistribution(each.low, each.high, log=each.log)


def rank_options(space: Space, records: Sequence[TrialRecord]) -> dict[str, float]:
    """How much each option matters, as shares of the variance of the losses, the largest first.

    Empty for fewer than ten finished trials, or two options. By functional ANOVA (Hutter et al.,
    2014).
    """
    finished = [
        each
        for each in records
        if each.state == "finished"
        and all(each.tried(space).get(name, math.nan) in space[name] for name in space)
    ]
    if len(finished) < ENOUGH or len(space) < 2:
        return {}
    import optuna

    with quiet_optuna():
        study = build_study(space, finished)
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(found[name]) for name in sorted(found, key=lambda name: -found[name])}


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Optuna logs warnings only. Raises `MissingExtra` if it is not installed."""
    try:
        from optuna import logging
    except ModuleNotFoundError as error:
        raise MissingExtra("optuna", extra="tune") from error
    before = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        yield
    finally:
        logging.set_verbosity(before)
