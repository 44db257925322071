"""The 1,797 digits of 8x8 pixels that ship with scikit-learn: no download needed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modelpad.datasets.catalogue import UCI_DIGITS
from modelpad.datasets.dataset import DataSet
from modelpad.datasets.split import Split
from modelpad.errors import MissingExtra

TEST_SHARE = 0.2


def load_uci_digits() -> DataSet:
    """UCI's digits, uint8 (N, 8, 8), white ink on black, scaled from 0..16 to 0..255.

    There is no official split: the last fifth of every class is the test set, so that neighbours
    in the file, often by one writer, stay in one split. Raises MissingExtra.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtra("scikit-learn", extra="train") from error
    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    whole = Split(images, digits.target.astype(np.int64))
    is_test = choose_last(whole.labels, TEST_SHARE)
    return DataSet(
        name=UCI_DIGITS.name,
        title=UCI_DIGITS.title,
        licence=UCI_DIGITS.licence,
        source=UCI_DIGITS.source,
        classes=tuple("0123456789"),
        train=whole.take(np.flatnonzero(~is_test)),
        test=whole.take(np.flatnonzero(is_test)),
    )


def choose_last(labels: NDArray[np.int64], share: float) -> NDArray[np.bool_]:
    """A mask (N,) that is true for the last `share` of every class in `labels` (N,)."""
    chosen = np.zeros(len(labels), np.bool_)
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        chosen[of_class[len(of_class) - round(share * len(of_class)) :]] = True
    return chosen
