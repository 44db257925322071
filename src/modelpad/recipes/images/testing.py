"""Tests a model by its objective, and by the metrics that the user asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from modelpad.datasets import Split
from modelpad.datasets.split import Targets
from modelpad.recipes.images.compact import Finished
from modelpad.recipes.images.fitting import Fitted
from modelpad.recipes.images.objectives.objective import Objective, Scores
from modelpad.training.evaluated import EvaluatedItems, evaluated_split
from modelpad.training.findings import Findings, join_findings
from modelpad.training.image_splits import ImageSplits
from modelpad.training.run import Run

if TYPE_CHECKING:
    from modelpad.training.custom import UserMetrics


class Tester:
    """Finds out how good scores are."""

    def __init__(
        self, objective: Objective, run: Run, metrics: Sequence[str], targets: Targets
    ) -> None:
        """`metrics` are tried on the first two `targets`. Raises `UsageError` for a bad one."""
        self._objective, self._run = objective, run
        self._metrics: UserMetrics | None = None
        if metrics:
            from modelpad.training.custom import resolve_metrics

            some = objective.align(targets[:2])
            scores = np.full_like(some, 1 / objective.outputs)
            self._metrics = resolve_metrics(metrics, some, scores)

    def validate(self, fitted: Fitted, splits: ImageSplits) -> Findings:
        """What the cross-validation says, if there was one."""
        if fitted.scores is None:
            return Findings()
        items = evaluated_split(splits.train, out_of_fold=True, seed=self._run.seed)
        return self._evaluate(items, splits.train, fitted.scores, fitted.uncalibrated)

    def test(self, finished: Finished, splits: ImageSplits) -> Findings:
        """What the test split says, if there is one: the only time that it is used."""
        if not len(splits.test):
            return Findings()
        self._run.print(f"Testing on {len(splits.test):,} pictures.")
        scores = self._objective.pick_scores(finished.predict(splits.test))
        items = evaluated_split(splits.test, seed=self._run.seed)
        return self._evaluate(items, splits.test, scores)

    def _evaluate(
        self,
        items: EvaluatedItems,
        split: Split,
        scores: Scores,
        uncalibrated: Scores | None = None,
    ) -> Findings:
        found = self._objective.evaluate(items, split.targets, scores, uncalibrated)
        if self._metrics is None:
            return found
        targets = self._objective.align(split.targets)
        return join_findings(found, self._metrics.measure(targets, scores, items.prefix))
