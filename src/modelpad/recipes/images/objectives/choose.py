"""Chooses the objective by the task of a data set."""

from __future__ import annotations

from modelpad.datasets import DataSet, Split
from modelpad.errors import UsageError
from modelpad.recipes.images import ImagesOptions
from modelpad.recipes.images.data import weigh_classes
from modelpad.recipes.images.objectives.labels import Labels
from modelpad.recipes.images.objectives.losses import Loss
from modelpad.recipes.images.objectives.objective import Objective
from modelpad.recipes.images.objectives.one_class import OneClass
from modelpad.recipes.images.objectives.values import measure_values


def choose_objective(options: ImagesOptions, data: DataSet, train: Split) -> Objective:
    """The objective of a data set. Raises UsageError for a loss that it does not have."""
    if data.task == "multi-label":
        return Labels(data.classes, options.loss)
    if data.task == "regression":
        if options.loss == "focal":
            raise UsageError(
                "--loss focal is a loss of classes, and the targets are numbers.",
                hint="Leave --loss out.",
            )
        return measure_values(data.value_names, train.targets)
    weights = weigh_classes(train.labels, data.classes, options.class_weights)
    return OneClass(data.classes, Loss(options.loss, weights))
