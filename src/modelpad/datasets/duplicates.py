"""Pictures that occur more than once: exact copies, and near-duplicates that look the same.

A copy on both sides of a split is leakage: the model is tested on what it has learned. Independent
of classes, splits or what is done about duplicates.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modelpad.datasets.inputs import ImageFiles, Inputs, Texts, check_readable, join_inputs
from modelpad.datasets.pictures import Resize, read_pictures

THUMBNAIL = 32
HASH_ROWS = 8
MAX_DISTANCE = 2
MAX_DIFFERENCE = 6.0  # mean, of grey levels 0..255
BANDS = ((0, 21), (21, 42), (42, 64))  # two of 64 bits differ in at most two of three bands
BLOCK = 512
LARGE_BUCKET, NEIGHBOURS = 4096, 8
PAIRS = 1 << 16  # whose greys are compared at a time

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Sets of two or more items (their indices, ascending), each set disjoint from the others.

    `exact` have the same bytes or the same pixels, `near` look the same: differently compressed,
    scaled or slightly edited copies, or two frames of one scene. An item may be in both.
    """

    exact: tuple[tuple[int, ...], ...]
    near: tuple[tuple[int, ...], ...]

    def groups(self, count: int, groups: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """A group number for each of `count` items, int64 (N,): duplicates have the same one.

        `groups` (N,) are those that the items already belong to; duplicates join them.
        """
        owners = _Sets(count)
        if groups is not None:
            first: dict[int, int] = {}
            for index, group in enumerate(groups.tolist()):
                owners.join(index, first.setdefault(group, index))
        for members in (*self.exact, *self.near):
            for index in members[1:]:
                owners.join(members[0], index)
        return np.array([owners.find(index) for index in range(count)], np.int64)

    def across(self, first: int) -> list[tuple[int, int]]:
        """Pairs of one of the first items, so many, and a later one: each later one is named once.

        Later items are counted from 0.
        """
        pairs: dict[int, int] = {}
        for members in (*self.exact, *self.near):
            for index in members:
                if index >= first > members[0]:
                    pairs.setdefault(index - first, members[0])
        return [(one, other) for other, one in sorted(pairs.items())]


def find_duplicates(inputs: Inputs) -> Duplicates:
    """The duplicates among images; each is decoded once, to a thumbnail of 32 x 32 grey levels.

    Of each image, 72 bytes are kept in memory. None among texts. Raises DataSetInvalid for an image
    that can no longer be read.
    """
    if isinstance(inputs, Texts) or not len(inputs):
        return Duplicates((), ())
    hashes = np.empty(len(inputs), np.uint64)
    greys = np.empty((len(inputs), HASH_ROWS, HASH_ROWS), np.uint8)
    for place, thumbnail in enumerate(make_thumbnails(inputs)):
        hashes[place], greys[place] = hash_difference(thumbnail)
    copies = list(list_copies(inputs))
    exact = merge(len(inputs), copies)
    known = merge(len(inputs), [*copies, *list_lookalikes(hashes, greys)])
    return Duplicates(exact, tuple(members for members in known if members not in set(exact)))


def find_leaks(train: Inputs, test: Inputs) -> list[tuple[int, int]]:
    """Pairs of an item in `train` and one in `test` that are duplicates: the test is then too easy.

    Each item of `test` is named once. Raises as `find_duplicates`.
    """
    return find_duplicates(join_inputs(train, test)).across(len(train))


def make_thumbnails(inputs: NDArray[np.uint8] | ImageFiles) -> Iterator[NDArray[np.uint8]]:
    """Each image as uint8 (32, 32), grey."""
    from PIL import Image

    side = (THUMBNAIL, THUMBNAIL)
    if isinstance(inputs, np.ndarray):
        for image in inputs:
            plain = image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image
            grey = Image.fromarray(plain).convert("L")
            yield np.asarray(grey.resize(side, Image.Resampling.BOX), np.uint8)
        return
    resize = Resize(THUMBNAIL, THUMBNAIL)
    for path, result in zip(inputs.files, read_pictures(inputs.files, resize, 1), strict=True):
        yield check_readable(path, result)


def list_copies(inputs: NDArray[np.uint8] | ImageFiles) -> Iterator[tuple[int, int]]:
    """Pairs of items with the same bytes: of pixels in memory, else of files of one size."""
    if isinstance(inputs, np.ndarray):
        yield from list_equal(hashlib.sha256(image.tobytes()).digest() for image in inputs)
        return
    by_size: dict[int, list[int]] = defaultdict(list)
    for index, path in enumerate(inputs.files):
        by_size[path.stat().st_size].append(index)
    for indices in by_size.values():
        if len(indices) > 1:
            digests = hash_files([inputs.files[index] for index in indices])
            for first, second in list_equal(digests):
                yield indices[first], indices[second]


def hash_files(files: Sequence[Path]) -> Iterator[bytes]:
    """The SHA-256 of each file."""
    for path in files:
        with path.open("rb") as stream:
            yield hashlib.file_digest(stream, "sha256").digest()


def list_equal(digests: Iterable[bytes]) -> Iterator[tuple[int, int]]:
    """Each item with the first one that has the same digest."""
    first: dict[bytes, int] = {}
    for index, digest in enumerate(digests):
        earlier = first.setdefault(digest, index)
        if earlier != index:
            yield earlier, index


def list_lookalikes(
    hashes: NDArray[np.uint64], greys: NDArray[np.uint8]
) -> Iterator[tuple[int, int]]:
    """Pairs whose difference hashes differ in at most two of 64 bits and whose greys are close.

    Items with equal hashes are compared with the first of them only.
    """
    unique, first, owner = np.unique(hashes, return_index=True, return_inverse=True)
    firsts = first[owner.reshape(-1)]
    again = np.flatnonzero(firsts != np.arange(len(hashes)))
    yield from keep_same(greys, firsts[again], again)
    for low, high in BANDS:
        band = (unique >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(band, kind="stable")
        edges = np.flatnonzero(np.diff(band[order])) + 1
        for bucket in np.split(order, edges):
            if len(bucket) > 1:
                for ones, others in compare_hashes(unique, bucket):
                    yield from keep_same(greys, first[ones], first[others])


def hash_difference(thumbnail: NDArray[np.uint8]) -> tuple[np.uint64, NDArray[np.uint8]]:
    """A thumbnail's difference hash (dHash), and its mean grey levels, uint8 (8, 8).

    The 64 bits of the hash say whether a pixel of 8 x 9 is brighter than its right neighbour.
    """
    from PIL import Image

    picture = Image.fromarray(thumbnail)
    sizes = ((HASH_ROWS + 1, HASH_ROWS), (HASH_ROWS, HASH_ROWS))
    wide, square = (np.asarray(picture.resize(size, Image.Resampling.BOX)) for size in sizes)
    bits = np.packbits(wide[:, :-1] > wide[:, 1:])
    return bits.view(np.uint64)[0], square


def compare_hashes(
    hashes: NDArray[np.uint64], bucket: Indices
) -> Iterator[tuple[Indices, Indices]]:
    """The pairs in a bucket whose hashes differ in at most two bits, as two arrays each time.

    In a bucket of more than 4,096, such as of frames of one scene, a hash is only compared with the
    next eight in their order: nearly every one still has a pair.
    """
    if len(bucket) > LARGE_BUCKET:
        bucket = bucket[np.argsort(hashes[bucket], kind="stable")]
        for distance in range(1, NEIGHBOURS + 1):
            ones, others = bucket[:-distance], bucket[distance:]
            close = count_bits(hashes[ones] ^ hashes[others]) <= MAX_DISTANCE
            yield ones[close], others[close]
        return
    for start in range(0, len(bucket), BLOCK):
        block = bucket[start : start + BLOCK]
        for later in range(start, len(bucket), BLOCK):
            others = bucket[later : later + BLOCK]
            close = count_bits(hashes[block][:, None] ^ hashes[others][None, :]) <= MAX_DISTANCE
            rows, columns = np.nonzero(np.triu(close, 1) if start == later else close)
            yield block[rows], others[columns]


def count_bits(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The number of bits that are 1, int64 of the same shape."""
    octets = np.ascontiguousarray(values)[..., None].view(np.uint8)
    counts: NDArray[np.int64] = np.unpackbits(octets, axis=-1).sum(axis=-1, dtype=np.int64)
    return counts


def keep_same(
    greys: NDArray[np.uint8], ones: Indices, others: Indices
) -> Iterator[tuple[int, int]]:
    """The pairs of items that differ by few grey levels: hashes of plain pictures often agree."""
    for start in range(0, len(ones), PAIRS):
        one, other = ones[start : start + PAIRS], others[start : start + PAIRS]
        difference = np.abs(greys[one].astype(np.int16) - greys[other]).mean(axis=(1, 2))
        same = difference <= MAX_DIFFERENCE
        yield from zip(one[same].tolist(), other[same].tolist(), strict=True)


def merge(count: int, pairs: Iterable[tuple[int, int]]) -> tuple[tuple[int, ...], ...]:
    """The sets of two or more items that pairs connect, by their first item."""
    owners = _Sets(count)
    for one, other in pairs:
        owners.join(one, other)
    found: dict[int, list[int]] = defaultdict(list)
    for index in range(count):
        found[owners.find(index)].append(index)
    return tuple(tuple(members) for members in found.values() if len(members) > 1)


class _Sets:
    """Disjoint sets of items; the smallest item stands for its set."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def find(self, item: int) -> int:
        while self._parent[item] != item:
            self._parent[item] = self._parent[self._parent[item]]
            item = self._parent[item]
        return item

    def join(self, one: int, other: int) -> None:
        low, high = sorted((self.find(one), self.find(other)))
        self._parent[high] = low
