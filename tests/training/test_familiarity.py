"""How familiar an item is: the score, its threshold, and the same score inside a graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from modelpad.runtime import load_onnxruntime
from modelpad.training.familiarity import MAX_DIRECTIONS, fit_familiarity, fit_threshold


def make_classes(
    count: int, width: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Three Gaussian classes with one covariance."""
    rng = np.random.default_rng(seed)
    shape = np.random.default_rng(99).normal(size=(width, width)) / np.sqrt(width)
    shape += np.eye(width)
    centres = np.random.default_rng(98).normal(size=(3, width)) * 3
    labels = rng.integers(0, 3, count)
    return centres[labels] + rng.normal(size=(count, width)) @ shape + 5, labels


def test_it_is_the_mahalanobis_distance_to_the_nearest_class() -> None:
    x, labels = make_classes(2000, 12, 0)
    other, _ = make_classes(50, 12, 1)
    gauge = fit_familiarity(x, labels, x)
    centres = np.stack([x[labels == index].mean(axis=0) for index in range(3)])
    inverse = np.linalg.inv(np.cov((x - centres[labels]).T, bias=True))
    gaps = other[:, None] - centres
    expected = -np.einsum("ncd,de,nce->nc", gaps, inverse, gaps).min(axis=1)
    ordered = np.argsort(expected)
    assert np.corrcoef(gauge.score(other), expected)[0, 1] > 0.99
    assert set(ordered[:5]) == set(np.argsort(gauge.score(other))[:5])


@pytest.mark.parametrize(("count", "width"), [(2000, 12), (60, 300), (9, 40)])
def test_unknown_items_are_told_from_held_out_ones(count: int, width: int) -> None:
    x, labels = make_classes(count, width, 0)
    gauge = fit_familiarity(x, labels, make_classes(500, width, 1)[0])
    held_out = gauge.score(make_classes(500, width, 2)[0])
    unlike = gauge.score(5 + np.random.default_rng(3).normal(size=(200, width)) * 12)
    assert gauge.directions.shape[1] <= MAX_DIRECTIONS
    assert (held_out < gauge.threshold).mean() < 0.04
    assert (unlike < gauge.threshold).all()


def test_a_threshold_loses_what_was_asked_for() -> None:
    scores = np.random.default_rng(0).normal(size=1000)
    assert (scores < fit_threshold(scores, 0.01)).sum() == 10
    assert (scores < fit_threshold(scores, 0.05)).sum() == 50
    assert fit_threshold(np.array([-4.0, -2.0, -1.0])) == -5


def test_features_that_are_constant_or_not_finite() -> None:
    x, labels = make_classes(300, 8, 0)
    x[:, 3] = 7
    assert np.isfinite(fit_familiarity(x, labels, x).score(x + 1)).all()
    x[0, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        fit_familiarity(x, labels, x)


def test_a_keras_model_computes_the_same_in_its_graph(tmp_path: Path) -> None:
    import keras

    from modelpad.convert.keras_source import KerasSource
    from modelpad.training.familiarity_keras import add_familiarity, read_features

    inputs = keras.Input((6,), name="image")
    hidden = keras.layers.Dense(16, activation="relu", name="features")(inputs)
    label = keras.layers.Dense(3, activation="softmax", name="label")(hidden)
    model = keras.Model(inputs, label)
    x = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)
    features = np.asarray(read_features(model, "features").predict(x, verbose=0))
    gauge = fit_familiarity(features, np.arange(400) % 3, features)
    source = KerasSource(add_familiarity(model, "features", gauge))
    assert [spec.name for spec in source.outputs] == ["label", "familiarity"]
    session = load_onnxruntime().InferenceSession(source.export().SerializeToString())
    scores = session.run(["familiarity"], {"image": x[:7]})[0]
    np.testing.assert_allclose(scores.reshape(-1), gauge.score(features[:7]), rtol=1e-3, atol=1e-2)
    assert set(source.files()) == {"architecture.json", "model.weights.h5"}
