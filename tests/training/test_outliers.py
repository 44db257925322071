"""Drawings of other things than digits, for training."""

from __future__ import annotations

import numpy as np
import pytest

from modelpad.datasets import Split
from modelpad.training.outliers import KINDS, Make, draw_outliers, is_other, load_typeface


def make_digits() -> Split:
    """Ten sketches: each a bar of its own length."""
    images = np.zeros((10, 28, 28), dtype=np.uint8)
    for label in range(10):
        images[label, 4:24, 10 : 13 + label] = 255
    return Split(images, np.arange(10))


@pytest.mark.parametrize("make", KINDS)
def test_each_kind_is_a_sketch_with_ink(make: Make) -> None:
    rng = np.random.default_rng(0)
    sketches = np.stack([make(make_digits(), rng) for _ in range(4)])
    assert sketches.shape == (4, 28, 28)
    assert sketches.dtype == np.uint8
    assert (sketches.max(axis=(1, 2)) > 100).all()
    assert len(np.unique(sketches, axis=0)) > 1


def test_they_depend_only_on_the_seed() -> None:
    first = draw_outliers(make_digits(), 12, 3)
    np.testing.assert_array_equal(first[:5], draw_outliers(make_digits(), 5, 3))
    assert (first != draw_outliers(make_digits(), 12, 4)).any()


def test_characters_like_digits_are_left_out() -> None:
    characters = set(load_typeface()[1])
    assert len(characters) > 1000
    assert characters.isdisjoint("0123456789OoIlSZB")
    assert not is_other("①")
    assert not is_other("Ö")
    assert is_other("Ä")
    assert is_other("♥")
