"""Splits as sequences and in batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelpad.datasets.inputs import ImageFiles, ImageInput, TextInput, Texts
from modelpad.datasets.split import Split
from modelpad.errors import DataSetInvalid, TooLarge

IMAGES = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3)
LABELS = np.array([0, 1, 0, 1, 1])


def test_a_split_is_a_sequence_of_examples() -> None:
    split = Split(IMAGES, LABELS)
    assert len(split) == 5
    image, label = split[3]
    np.testing.assert_array_equal(image, IMAGES[3])
    assert label == 1
    assert [int(example.target) for example in split] == LABELS.tolist()
    assert split.shape == (2, 3)


def test_batches_cover_all_items_in_the_order_given() -> None:
    split = Split(IMAGES, LABELS)
    order = np.array([4, 0, 3, 1, 2])
    batches = list(split.batches(2, order))
    assert [len(batch.targets) for batch in batches] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate([b.inputs for b in batches]), IMAGES[order])
    np.testing.assert_array_equal(np.concatenate([b.targets for b in batches]), LABELS[order])


def test_a_divided_array_is_not_copied() -> None:
    first, rest = Split(IMAGES, LABELS).divide(2)
    assert (len(first), len(rest)) == (2, 3)
    assert np.shares_memory(first.images, IMAGES)
    assert np.shares_memory(rest.images, IMAGES)


def test_joined_splits_keep_names_and_tell_groups_apart() -> None:
    grouped = Split(IMAGES, LABELS, groups=np.array([7, 7, 3, 3, 3]))
    named = Split(IMAGES[:2], LABELS[:2], names=("a.png", "b.png"))
    joined = grouped.join(named)
    assert joined.names == ("", "", "", "", "", "a.png", "b.png")
    assert joined.groups is not None
    assert joined.groups.tolist() == [1, 1, 0, 0, 0, 2, 3]
    np.testing.assert_array_equal(joined.images, np.concatenate([IMAGES, IMAGES[:2]]))
    np.testing.assert_array_equal(joined.labels, [*LABELS, *LABELS[:2]])
    plain = Split(IMAGES, LABELS).join(Split(IMAGES, LABELS))
    assert plain.names == ()
    assert plain.groups is None


def test_texts_have_no_images() -> None:
    split = Split(Texts(("one", "two", "three", "four", "five")), LABELS)
    assert split.kind == TextInput()
    assert split[1].input == "two"
    assert next(split.batches(2)).inputs == ["one", "two"]
    assert split.take(np.array([4, 0])).inputs == Texts(("five", "one"))
    with pytest.raises(DataSetInvalid, match="texts"):
        _ = split.images


def test_lengths_must_agree() -> None:
    with pytest.raises(DataSetInvalid, match="5 images but 4 labels"):
        Split(IMAGES, LABELS[:4])


def test_images_beyond_the_memory_are_refused_before_they_are_decoded() -> None:
    sizes = np.full((1000, 2), 6000, np.int32)
    split = Split(ImageFiles((Path("missing.png"),) * 1000, sizes, 3), np.zeros(1000, np.int64))
    assert split.kind == ImageInput(6000, 6000, 3)
    with pytest.raises(TooLarge, match="GiB"):
        _ = split.images
