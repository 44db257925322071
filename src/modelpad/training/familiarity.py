"""How much an item resembles those that a classifier was trained on: the angle between features.

    likeness = fit_likeness(features, labels, seed).with_threshold(validation_scores)
    label = Label("label", classes, familiarity=likeness.field)

Features of other things lie in other directions. Class centres are found by k-means on the unit
sphere; the more an item's direction differs from all of them, the less familiar it is. Of few items
in many dimensions this says more than a covariance, which they do not determine. Where examples of
other things are at hand, `familiarity_keras` learns the difference instead. This module does not
depend on deep-learning frameworks or graphs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from modelpad.fields.label import Familiarity

TENSOR = "familiarity"
LOSS = 0.01
MIN_SCORES = 100  # from which an empirical quantile of 1 % means something
MAX_CENTRES = 8  # of a class
ITEMS_PER_CENTRE = 15
EPSILON = 1e-6

Features = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Likeness:
    """Centres (K, D) of length 1, float32, and the cosine below which an item is unknown."""

    centres: Features
    threshold: float = -1.0

    def score(self, features: Features) -> Features:
        """The cosine (N,) between features (N, D) and the nearest centre, -1..1."""
        cosines: Features = (scale_to_one(features) @ self.centres.T).max(axis=1)
        return cosines

    def with_threshold(self, scores: Features) -> Likeness:
        """The likeness that loses about 1 % of items with these scores, unseen in training."""
        return replace(self, threshold=fit_threshold(scores))

    @property
    def field(self) -> Familiarity:
        """What the label field needs to know."""
        return Familiarity(TENSOR, self.threshold)


def fit_likeness(features: Features, labels: NDArray[np.int64], seed: int) -> Likeness:
    """The centres of each class's features (N, D), without a threshold."""
    from sklearn.cluster import KMeans

    units = scale_to_one(features)
    centres = []
    for label in np.unique(labels):
        members = units[labels == label]
        count = int(np.clip(len(members) // ITEMS_PER_CENTRE, 1, MAX_CENTRES))
        centres.append(KMeans(count, n_init=3, random_state=seed).fit(members).cluster_centers_)
    return Likeness(scale_to_one(np.concatenate(centres).astype(np.float32)))


def scale_to_one(features: Features) -> Features:
    """Each row divided by its length."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    units: Features = features / np.maximum(lengths, EPSILON)
    return units


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
