"""How familiar an item is: the score, its threshold, and the same score inside a graph."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from modelpad.runtime import load_onnxruntime
from modelpad.training.familiarity import MAX_CENTRES, fit_likeness, fit_threshold

Items = NDArray[np.float32]


def make_classes(count: int, width: int, seed: int) -> tuple[Items, NDArray[np.int64]]:
    """Three classes, each in a direction of its own."""
    rng = np.random.default_rng(seed)
    centres = np.eye(3, width) * 6
    labels = rng.integers(0, 3, count)
    return (centres[labels] + rng.normal(0, 0.5, (count, width))).astype(np.float32), labels


def make_model(width: int):  # type: ignore[no-untyped-def]
    import keras

    inputs = keras.Input((width,), name="image")
    hidden = keras.layers.Dense(16, activation="relu", name="features")(inputs)
    label = keras.layers.Dense(3, activation="softmax", name="label")(hidden)
    return keras.Model(inputs, label)


@pytest.mark.parametrize(("count", "width"), [(2000, 12), (60, 300), (9, 40)])
def test_unknown_items_are_told_from_held_out_ones(count: int, width: int) -> None:
    x, labels = make_classes(count, width, 0)
    likeness = fit_likeness(x, labels, 0)
    likeness = likeness.with_threshold(likeness.score(make_classes(500, width, 1)[0]))
    held_out = likeness.score(make_classes(500, width, 2)[0])
    unlike = likeness.score(-x)
    assert len(likeness.centres) <= 3 * MAX_CENTRES
    assert (held_out < likeness.threshold).mean() < 0.04
    assert (unlike < likeness.threshold).all()


def test_a_threshold_loses_what_was_asked_for() -> None:
    scores = np.random.default_rng(0).normal(size=1000)
    assert (scores < fit_threshold(scores, 0.01)).sum() == 10
    assert (scores < fit_threshold(scores, 0.05)).sum() == 50
    assert fit_threshold(np.array([-4.0, -2.0, -1.0])) == -5


def test_a_keras_model_computes_the_likeness_in_its_graph() -> None:
    from modelpad.convert.keras_source import KerasSource
    from modelpad.training.familiarity_keras import Known, add_likeness

    model = make_model(6)
    x, labels = make_classes(400, 6, 0)
    served, field = add_likeness(model, Known(x, labels, make_classes(400, 6, 1)[0]), 0)
    source = KerasSource(served)
    assert [spec.name for spec in source.outputs] == ["label", "familiarity"]
    session = load_onnxruntime().InferenceSession(source.export().SerializeToString())
    held_out = make_classes(400, 6, 2)[0]
    label, known = session.run(["label", "familiarity"], {"image": held_out})
    np.testing.assert_allclose(label, model.predict(held_out, verbose=0), atol=1e-5)
    assert (known < field.threshold).mean() < 0.05
    assert np.abs(known).max() <= 1.0001
    assert set(source.files()) == {"architecture.json", "model.weights.h5"}


def test_a_recogniser_learns_what_its_examples_differ_in() -> None:
    import keras

    from modelpad.convert.keras_source import KerasSource
    from modelpad.training.familiarity_keras import Known, add_recogniser

    keras.utils.set_random_seed(0)
    model = make_model(6)
    x, labels = make_classes(1000, 6, 0)
    others = x[:, ::-1].copy()
    known = Known(x, labels, make_classes(400, 6, 1)[0])
    served, field = add_recogniser(model, known, others, 0)
    again, same = add_recogniser(model, known, others, 0)
    assert same == field
    session = load_onnxruntime().InferenceSession(KerasSource(served).export().SerializeToString())
    held_out = make_classes(400, 6, 2)[0]
    label, familiar = session.run(["label", "familiarity"], {"image": held_out})
    np.testing.assert_allclose(label, model.predict(held_out, verbose=0), atol=1e-5)
    np.testing.assert_allclose(familiar, again.predict(held_out, verbose=0)[1], atol=1e-3)
    strange = session.run(["familiarity"], {"image": held_out[:, ::-1].copy()})[0]
    assert (familiar < field.threshold).mean() < 0.04
    assert (strange < field.threshold).mean() > 0.9
