"""Fits a classifier to pictures: the last layer alone for few of them, else most layers in epochs.

With few pictures, fine-tuning finds little that pretrained features do not have, and a validation
split would be too small to stop it in time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from modelpad.datasets import Split
from modelpad.recipes.images.data import read_batches
from modelpad.recipes.images.model import Classifier
from modelpad.recipes.images.objectives.objective import Objective
from modelpad.recipes.images.tuning import Plan, Tuner
from modelpad.training.augment import AUGMENTATIONS
from modelpad.training.familiarity import Likeness, fit_likeness
from modelpad.training.image_splits import ImageSplits, truncate
from modelpad.training.run import Run
from modelpad.training.splits import FOLDS, make_folds
from modelpad.training.strata import stratify

FEATURES_OF = 5_000  # pictures that the head is first fitted on
BATCH = 32  # pictures that are read at a time where nothing is learnt
STEPS, BATCH_SIZES = 20, (8, 32)  # small data still makes some steps an epoch

Features = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained network, and what pictures that it was not trained on say about it.

    `judged` are pictures on which versions of the network may be compared. `scores` are those of a
    cross-validation for the training split, with and without the temperature.
    """

    net: Classifier
    temperature: float
    likeness: Likeness
    judged: Split
    scores: Features | None = None
    uncalibrated: Features | None = None


def fit_few(net: Classifier, splits: ImageSplits, objective: Objective, run: Run) -> Fitted:
    """Fits the head on all pictures; cross-validation takes the place of a validation split."""
    run.team.check_alone(
        f"A data set of {len(splits.train)} pictures", "only the last layer is trained"
    )
    targets, strata = splits.train.targets, stratify(splits.train)
    run.begin()
    run.print(f"Few pictures: training the last layer only, cross-validated with {FOLDS} folds.")
    features = extract_features(net, splits.train, run)
    run.report(1.0, "Cross-validating")
    logits = np.zeros((len(targets), objective.outputs), np.float32)
    known = np.zeros(len(targets), np.float32)
    rng = np.random.default_rng(run.seed)
    for train, held_out in make_folds(strata, rng, groups=splits.train.groups):
        head = objective.fit_head(features[train], targets[train], run.seed)
        logits[held_out] = head.predict(features[held_out])
        likeness = fit_likeness(features[train], strata[train], run.seed)
        known[held_out] = likeness.score(features[held_out])
    temperature = objective.fit_temperature(logits, targets)
    objective.fit_head(features, targets, run.seed).copy_to(net.head)
    likeness = fit_likeness(features, strata, run.seed).with_threshold(known)
    scores, uncalibrated = (objective.score(logits, each) for each in (temperature, 1.0))
    return Fitted(net, temperature, likeness, splits.train, scores, uncalibrated)


def fit_many(net: Classifier, splits: ImageSplits, objective: Objective, run: Run) -> Fitted:
    """Trains in epochs, and keeps the one with the lowest validation loss."""
    arch, train, validation = net.arch, splits.train, splits.validation
    if arch.pretrained and not run.first_epoch and run.team.leads:
        first = truncate(train, FEATURES_OF, run.seed)
        features = extract_features(net, first, run)
        objective.fit_head(features, first.targets, run.seed).copy_to(net.head)
    augment = AUGMENTATIONS["photograph"]
    assert augment is not None
    size = arch.batch_size or int(np.clip(len(train) // STEPS, *BATCH_SIZES))
    run.use(learning_rate=arch.rate, batch_size=size, weight_decay=arch.weight_decay)
    plan = Plan(
        run.epochs,
        arch.rate,
        arch.frozen,
        objective,
        augment,
        run.seed,
        size,
        arch.weight_decay,
    )
    tuner = Tuner(net, train, plan, run.team)
    run.restore(tuner.read)
    with run.interruptible():
        for epoch in run.remaining_epochs():
            mean = tuner.train_epoch(epoch, report_steps(run, epoch, tuner.steps))
            if not run.team.leads:
                continue
            measured = validate(tuner.average.module, validation, objective)
            run.log(epoch, {"loss": mean, **measured, "learning_rate": tuner.rate})
            run.save(tuner.write, loss=measured["val_loss"], write_best=tuner.write_best)
    run.restore_best(tuner.read_best)
    features = extract_features(net, validation, run)
    logits = apply_head(net, features)
    temperature = objective.fit_temperature(logits, validation.targets)
    some = truncate(train, FEATURES_OF, run.seed)
    likeness = fit_likeness(extract_features(net, some, run), stratify(some), run.seed)
    likeness = likeness.with_threshold(likeness.score(features))
    return Fitted(net, temperature, likeness, validation)


def extract_features(net: Classifier, split: Split, run: Run) -> Features:
    """The features (N, D) of all pictures; only a few pictures are in memory at a time."""
    net.eval()
    parts = []
    with torch.no_grad():
        for number, (images, _) in enumerate(read_batches(split, BATCH)):
            parts.append(net.pool(net.map(torch.from_numpy(images).float())).numpy())
            run.report(min(1.0, (number + 1) * BATCH / len(split)), "Looking at the pictures")
    return np.concatenate(parts)


def validate(net: torch.nn.Module, split: Split, objective: Objective) -> dict[str, float]:
    """The loss, and the objective's figure, on a validation split."""
    net.eval()
    with torch.no_grad():
        parts = [net(torch.from_numpy(images).float()) for images, _ in read_batches(split, BATCH)]
    logits = torch.cat(parts)
    scores = objective.score(logits.numpy(), 1.0)
    return {
        "val_loss": objective.validate(logits, split.targets),
        f"val_{objective.figure}": objective.judge(scores, split.targets),
    }


def apply_head(net: Classifier, features: Features) -> Features:
    """The logits (N, outputs) of features (N, D)."""
    with torch.no_grad():
        logits: Features = net.head(torch.from_numpy(features)).numpy()
        return logits


def report_steps(run: Run, epoch: int, steps: int) -> Callable[[int, float], None]:
    """Shows the progress of an epoch."""

    def report(step: int, loss: float) -> None:
        run.progress(epoch, step, steps, {"loss": loss})

    return report
