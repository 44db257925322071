"""Temperature scaling and calibration error."""

from __future__ import annotations

import numpy as np
import pytest

from modelpad.training.calibration import (
    bin_reliability,
    calibration_error,
    fit_blend,
    fit_temperature,
    soften,
)


def draw(sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `sharpness` times too large for how labels are drawn."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 4))
    noise = rng.gumbel(size=logits.shape)  # argmax of logits + noise is a draw from their softmax
    return logits * sharpness, (logits + noise).argmax(axis=1)


def test_a_blend_finds_what_each_part_tells() -> None:
    logits, labels = draw(1.0)
    part = np.random.default_rng(1).normal(0, 1, logits.shape)
    own, other = fit_blend((logits - part) / 2, 3 * part, labels)
    assert own == pytest.approx(2, rel=0.05)
    assert other == pytest.approx(1 / 3, rel=0.05)
    own, other = fit_blend(logits, part, labels)
    assert own == pytest.approx(1, rel=0.05)
    assert other < 0.05


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_overconfidence(sharpness: float) -> None:
    logits, labels = draw(sharpness)
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(sharpness, rel=0.03)
    assert calibration_error(labels, soften(logits, temperature)) < 0.01


def test_scaling_keeps_predictions_and_mends_calibration() -> None:
    logits, labels = draw(3.0)
    before, after = soften(logits), soften(logits, 3.0)
    np.testing.assert_array_equal(before.argmax(axis=1), after.argmax(axis=1))
    assert calibration_error(labels, before) > 0.1 > calibration_error(labels, after)


def test_huge_logits_do_not_overflow() -> None:
    logits = np.array([[1e6, -1e6], [-1e6, 1e6]])
    np.testing.assert_array_equal(soften(logits), np.eye(2))
    assert fit_temperature(logits, np.array([0, 1])) > 0
    assert fit_temperature(np.empty((0, 2)), np.empty(0, np.int64)) == 1


def test_the_error_is_the_mean_gap() -> None:
    scores = np.array([[0.9, 0.1]] * 4 + [[0.4, 0.6]] * 2, np.float32)
    labels = np.array([0, 0, 1, 1, 1, 1])
    assert calibration_error(labels, scores) == pytest.approx((4 * 0.4 + 2 * 0.4) / 6)
    assert [(each.count, each.accuracy) for each in bin_reliability(labels, scores)] == [
        (2, 1.0),
        (4, 0.5),
    ]
