"""How familiar an item is to a trained classifier, from the features before its last layer.

    gauge = fit_familiarity(features, labels, validation_features)
    model = add_familiarity(model, layer_with_the_features, gauge)     # familiarity_keras.py
    label = Label("label", classes, familiarity=gauge.field)

The score is minus the squared Mahalanobis distance to the nearest class (Lee et al., 2018, "A
simple unified framework for detecting out-of-distribution samples"), with one covariance for all
classes. It consists of affine maps, squares and a maximum, so any framework can compute it in its
graph. This module does not depend on frameworks or graphs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from modelpad.fields.label import Familiarity

TENSOR = "familiarity"
LOSS = 0.01
MAX_DIRECTIONS = 64
ITEMS_PER_DIRECTION = 4  # fewer do not determine the variance along a direction
FLOOR = 0.001  # of the mean variance: no direction is trusted to vary less
MIN_SCORES = 100  # from which an empirical quantile of 1 % means something

Numbers = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Gauge:
    """The parameters of a familiarity score, and the threshold below which an item is unknown.

    With `y = (x - mean) / scale` for features x (D,), the score is
    `max(y @ kernel + bias) - |y|^2 + |y @ directions|^2`. Shapes: `mean` and `scale` (D,),
    `directions` (D, K), `kernel` (D, classes), `bias` (classes,), all float32.
    """

    mean: Numbers
    scale: Numbers
    directions: Numbers
    kernel: Numbers
    bias: Numbers
    threshold: float

    def score(self, features: NDArray[np.floating]) -> Numbers:
        """The scores (N,) of features (N, D): float32, at most 0, higher for familiar items."""
        y = (np.asarray(features, np.float32) - self.mean) / self.scale
        nearest = (y @ self.kernel + self.bias).max(axis=1)
        along = np.square(y @ self.directions).sum(axis=1)
        scores: Numbers = nearest - np.square(y).sum(axis=1) + along
        return scores

    @property
    def field(self) -> Familiarity:
        """What the label field needs to know."""
        return Familiarity(TENSOR, self.threshold)


def fit_familiarity(
    features: NDArray[np.floating],
    labels: NDArray[np.int64],
    validation: NDArray[np.floating],
    *,
    loss: float = LOSS,
) -> Gauge:
    """A gauge for a classifier's features (N, D) of training items, with labels (N,).

    `labels` may be all zero if there are no classes. The threshold loses a share of `loss` of the
    items with the features `validation` (M, D), which must not have been trained on.

    Raises:
        ValueError: there are no features, or they are not finite.
    """
    x, held_out = np.asarray(features, np.float64), np.asarray(validation, np.float64)
    if not (len(x) and len(held_out) and np.isfinite(x).all() and np.isfinite(held_out).all()):
        raise ValueError("familiarity needs finite features for training and validation")
    gauge = _fit_gauge(x, labels)
    return replace(gauge, threshold=fit_threshold(gauge.score(held_out), loss))


def fit_threshold(scores: NDArray[np.floating], loss: float = LOSS) -> float:
    """The score below which a share of `loss` of these validation scores (N,) lies.

    With fewer than 100 scores it lies below all of them, by half of the distance from the lowest to
    the median: a quantile of 1 % cannot be estimated, and losing a familiar item is worse.
    """
    scores = np.sort(np.asarray(scores, np.float64))
    if len(scores) < MIN_SCORES:
        lowest = float(scores[0])
        return lowest - (float(np.median(scores)) - lowest) / 2
    index = int(loss * len(scores))
    # Between two scores, so that rounding in another runtime changes no reading.
    return float((scores[index - 1] + scores[index]) / 2) if index else float(scores[0])


def _fit_gauge(x: NDArray[np.float64], labels: NDArray[np.int64]) -> Gauge:
    """The gauge, with a threshold of 0."""
    mean = x.mean(axis=0)
    present, members = np.unique(labels, return_inverse=True)
    centres = np.stack([x[members == index].mean(axis=0) for index in range(len(present))])
    spread = (x - centres[members]).std(axis=0)
    spread = np.maximum(spread, FLOOR * max(float(spread.mean()), 1e-12))
    within = (x - centres[members]) / spread
    variances, vectors = _principal_directions(within)
    rest = variances[-1]  # the variance along all other directions
    scale = spread * np.sqrt(rest)
    # |y|^2 counts every direction with the variance `rest`; `directions` correct those with more.
    directions = vectors * np.sqrt(1 - rest / variances[:-1])
    shifted = (centres - mean) / scale
    along = shifted @ directions
    kernel = 2 * (shifted.T - directions @ along.T)
    bias = np.square(along).sum(axis=1) - np.square(shifted).sum(axis=1)
    return Gauge(
        mean.astype(np.float32),
        scale.astype(np.float32),
        directions.astype(np.float32),
        kernel.astype(np.float32),
        bias.astype(np.float32),
        threshold=0.0,
    )


def _principal_directions(
    within: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The largest variances (K + 1,) of deviations (N, D), and the directions (D, K) of K of them.

    The last variance is the mean of all others.
    """
    count, width = within.shape
    kept = max(0, min(MAX_DIRECTIONS, width - 1, count // ITEMS_PER_DIRECTION))
    _, singular, rows = np.linalg.svd(within, full_matrices=False)
    variances = np.square(singular) / count
    floor = FLOOR * float(variances.sum()) / width
    rest = max(float(variances[kept:].sum()) / (width - kept), floor)
    return np.append(np.maximum(variances[:kept], rest), rest), rows[:kept].T
