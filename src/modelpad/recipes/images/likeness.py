"""How much a picture resembles those trained on: the angle between its features and theirs.

Features of a network that was pretrained on a thousand kinds of things lie in other directions for
other things. Class centres are found by k-means on the unit sphere; the more a picture's direction
differs from all of them, the less familiar it is. Of few pictures in many dimensions this says more
than a covariance, which they do not determine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from modelpad.fields import Familiarity
from modelpad.training.familiarity import TENSOR, fit_threshold

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
    return features / np.maximum(lengths, EPSILON)
