"""The linear layer on top of fixed features, fitted to its optimum."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from modelpad.recipes.images.objectives.losses import Loss

STRENGTHS = (0.01, 0.1, 1.0)  # of the penalty on weights, for each item
RIDGES = (0.01, 0.1, 1.0, 10.0)
INNER_FOLDS = 4
ITERATIONS = 200
FLOOR = 0.1  # added to each feature's spread, so that a rare feature does not become a loud one

Features = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Head:
    """A linear layer: float32 `weight` (classes, features) and `bias` (classes,)."""

    weight: Features
    bias: Features

    def predict(self, features: Features) -> Features:
        """Logits (N, classes)."""
        return features @ self.weight.T + self.bias

    @torch.no_grad()
    def copy_to(self, layer: torch.nn.Linear) -> None:
        """Replaces a layer's weights."""
        layer.weight.copy_(torch.from_numpy(self.weight))
        layer.bias.copy_(torch.from_numpy(self.bias))


def fit_head(
    features: Features,
    labels: NDArray[np.int64],
    loss: Loss,
    seed: int,
    strengths: Sequence[float] = STRENGTHS,
) -> Head:
    """Logistic regression on features (N, D) with labels (N,); with focal loss if that is asked.

    How strongly weights are kept small is chosen by cross-validation within these items.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    mean, spread = features.mean(axis=0), features.std(axis=0) + FLOOR
    present, counts = np.unique(labels, return_counts=True)
    folds = min(INNER_FOLDS, int(counts.min()))
    weights = dict(enumerate(loss.class_weights.tolist()))
    grid = {"C": [1 / (strength * len(labels)) for strength in strengths]}
    usual = grid["C"][len(strengths) // 2]
    model = LogisticRegression(C=usual, class_weight=weights, max_iter=ITERATIONS)
    searched = folds > 1 and len(strengths) > 1
    if searched:
        split = StratifiedKFold(folds, shuffle=True, random_state=seed)
        model = GridSearchCV(model, grid, scoring="neg_log_loss", cv=split)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit((features - mean) / spread, labels)
    best = model.best_estimator_ if searched else model
    weight, bias = both_classes(best.coef_, best.intercept_)
    weight, bias = fill_classes(weight, bias, present, len(weights))
    if loss.name != "cross-entropy":
        strength = 1 / (best.C * len(labels))
        weight, bias = refine((features - mean) / spread, labels, loss, strength, (weight, bias))
    plain = weight / spread
    return Head(plain.astype(np.float32), (bias - plain @ mean).astype(np.float32))


def fit_ridge(features: Features, targets: Features) -> Head:
    """Linear regression on features (N, D) with targets (N, K) of mean 0, weights kept small.

    How strongly is chosen by leaving one item out.
    """
    from sklearn.linear_model import RidgeCV

    mean, spread = features.mean(axis=0), features.std(axis=0) + FLOOR
    scaled = ((features - mean) / spread).astype(np.float64)
    model = RidgeCV([strength * len(targets) for strength in RIDGES])
    model.fit(scaled, targets.astype(np.float64))
    weight = np.reshape(model.coef_, (targets.shape[1], -1)) / spread
    bias = np.reshape(model.intercept_, -1) - weight @ mean
    return Head(weight.astype(np.float32), bias.astype(np.float32))


def refine(
    x: Features,
    labels: NDArray[np.int64],
    loss: Loss,
    strength: float,
    start: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The weights and bias with the lowest loss near `start`, by L-BFGS."""
    weight, bias = (torch.tensor(part, dtype=torch.float32, requires_grad=True) for part in start)
    inputs = torch.from_numpy(x)
    targets = torch.nn.functional.one_hot(torch.from_numpy(labels), len(weight)).float()
    solver = torch.optim.LBFGS([weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def measure() -> torch.Tensor:
        solver.zero_grad()
        total = loss.measure(inputs @ weight.T + bias, targets, smoothing=0)
        total = total + strength * weight.square().sum() / 2
        total.backward()  # type: ignore[no-untyped-call]
        return total

    solver.step(measure)  # type: ignore[no-untyped-call]
    return weight.detach().double().numpy(), bias.detach().double().numpy()


def both_classes(
    weight: NDArray[np.float64], bias: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A row for each class, where scikit-learn has one for two classes; same probabilities."""
    if len(weight) > 1:
        return weight, bias
    return np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2


def fill_classes(
    weight: NDArray[np.float64],
    bias: NDArray[np.float64],
    present: NDArray[np.int64],
    classes: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A row for each of `classes`; those that are not `present` are as rare as the rarest."""
    filled = np.zeros((classes, weight.shape[1])), np.full(classes, bias.min())
    filled[0][present], filled[1][present] = weight, bias
    return filled
