"""A bag of words and pairs of words with naive-Bayes weights: a strong, small classifier.

Wang & Manning 2012, "Baselines and bigrams": each n-gram is weighted by how much more often it
occurs in one class than in the others, and a logistic regression on these weights decides. Both
together are linear, so that the result is a plain pipeline of scikit-learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelpad.training.calibration import fit_temperature
from modelpad.training.seeding import derive_seed

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.pipeline import Pipeline

TOKENS = r"\w+|[!?]"
LONGEST = 2  # words in an n-gram
RARE = 2  # an n-gram in fewer texts is left out, unless there are few texts
FEW = 1000
FEATURES = 200_000  # n-grams; the most frequent ones
PENALTY = 20.0  # on large weights
ACCURACY = 1e-3  # of the optimizer, relative

Labels = NDArray[np.int64]
Weights = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bag:
    """A fitted pipeline; its classes are numbered as the labels were."""

    pipeline: Pipeline

    @property
    def features(self) -> int:
        """The number of n-grams."""
        return len(self.pipeline[0].vocabulary_)

    def read_scores(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The probabilities (N, C) of texts."""
        scores: NDArray[np.float32] = self.pipeline.predict_proba(texts).astype(np.float32)
        return scores


def fit_bag(
    texts: Sequence[str], labels: Labels, classes: int, seed: int = 0, penalty: float = PENALTY
) -> Bag:
    """Learns from texts and their labels (N,), of which each class has at least one."""
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(
        token_pattern=TOKENS,
        ngram_range=(1, LONGEST),
        binary=True,
        min_df=RARE if len(texts) >= FEW else 1,
        max_features=FEATURES,
        dtype=np.float32,
    )
    found = vectorizer.fit_transform(texts)
    weights, biases = fit_sides(found, found, list_sides(labels, classes), penalty, seed)
    return join_steps(vectorizer, weights, biases, classes)


def calibrate(bag: Bag, texts: Sequence[str], labels: Labels) -> Bag:
    """The same, with the temperature that makes its scores probabilities on unseen texts."""
    vectorizer, head = bag.pipeline[0], bag.pipeline[1]
    found = vectorizer.transform(texts) @ head.coef_.T + head.intercept_
    logits = np.hstack([-found, found]) / 2 if found.shape[1] == 1 else found
    heat = fit_temperature(logits, labels)
    return join_steps(vectorizer, head.coef_ / heat, head.intercept_ / heat, len(head.classes_))


def list_sides(labels: Labels, classes: int) -> list[NDArray[np.bool_]]:
    """Which texts (N,) are in each class; of two classes, in the second alone."""
    return [labels == side for side in (range(1, 2) if classes == 2 else range(classes))]


def fit_sides(
    found: csr_matrix,
    values: csr_matrix,
    inside: Sequence[NDArray[np.bool_]],
    penalty: float,
    seed: int,
) -> tuple[Weights, Weights]:
    """The weights (K, V) of n-grams and the biases (K,) for each class against the others.

    `found` (N, V) says which n-grams a text has, `values` (N, V) how much of each.
    """
    fitted = [
        fit_side(values, weigh_ngrams(found, each), each, penalty, derive_seed(seed, side))
        for side, each in enumerate(inside)
    ]
    return np.stack([weight for weight, _ in fitted]), np.array([bias for _, bias in fitted])


def fit_side(
    found: csr_matrix,
    ratios: NDArray[np.float32],
    inside: NDArray[np.bool_],
    penalty: float,
    seed: int,
) -> tuple[Weights, float]:
    """The weights (V,) of n-grams for one class against the others, and the bias.

    `found` (N, V) says how much of each n-gram a text has, `ratios` (V,) how much that counts, and
    `inside` (N,) whether the text is in the class.
    """
    from sklearn.linear_model import LogisticRegression

    weighted = found.multiply(ratios).tocsr()
    fitted = LogisticRegression(
        C=1 / penalty, solver="liblinear", tol=ACCURACY, random_state=seed
    ).fit(weighted, inside)
    return fitted.coef_[0] * ratios, float(fitted.intercept_[0])


def weigh_ngrams(found: csr_matrix, inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The log of each n-gram's share among those of the class, over that among the others'.

    `found` (N, V) says which n-grams a text has.
    """
    within, without = (1 + np.asarray(found[each].sum(axis=0))[0] for each in (inside, ~inside))
    ratios: NDArray[np.float32] = np.log(
        (within / within.sum()) / (without / without.sum())
    ).astype(np.float32)
    return ratios


def join_steps(vectorizer: Any, weights: Weights, biases: Weights, classes: int) -> Bag:
    """The pipeline of a vectorizer and a linear classifier with these weights (1 or C, V)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    head = LogisticRegression()
    head.coef_, head.intercept_ = weights, biases
    head.classes_ = np.arange(classes)
    head.n_features_in_ = weights.shape[1]
    return Bag(make_pipeline(vectorizer, head))
