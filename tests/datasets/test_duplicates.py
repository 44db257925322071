"""Copies and look-alikes are found, whatever their number, and different pictures are not."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from modelpad.datasets.duplicates import Duplicates, find_duplicates, find_leaks
from modelpad.datasets.inputs import ImageFiles, Texts


def draw(seed: int, side: int = 96) -> Image.Image:
    """A smooth random picture, like a photograph out of focus."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)


def as_inputs(files: list[Path]) -> ImageFiles:
    return ImageFiles(tuple(files), np.array([[96, 96]] * len(files), np.int32), 3)


def write_pictures(folder: Path) -> list[Path]:
    files = [folder / f"{seed}.jpg" for seed in range(20)]
    for seed, path in enumerate(files):
        draw(seed).save(path, quality=90)
    return files


def test_copies_and_lookalikes_are_told_apart(tmp_path: Path) -> None:
    files = write_pictures(tmp_path)
    for name in ("copy.jpg", "worse.jpg", "smaller.png", "brighter.jpg"):
        files.append(tmp_path / name)
    shutil.copy(files[3], tmp_path / "copy.jpg")
    draw(5).save(tmp_path / "worse.jpg", quality=40)
    draw(7).resize((64, 64)).save(tmp_path / "smaller.png")
    ImageEnhance.Brightness(draw(9)).enhance(1.02).save(tmp_path / "brighter.jpg")
    found = find_duplicates(as_inputs(files))
    assert found.exact == ((3, 20),)
    assert set(found.near) == {(5, 21), (7, 22), (9, 23)}


def test_equal_pixels_in_memory_are_copies() -> None:
    images = np.stack([np.asarray(draw(seed, 24)) for seed in (0, 1, 0, 2, 1, 0)])
    assert find_duplicates(images) == Duplicates(((0, 2, 5), (1, 4)), ())
    assert find_duplicates(images[..., 0]) == Duplicates(((0, 2, 5), (1, 4)), ())
    assert find_duplicates(images[..., :1]) == Duplicates(((0, 2, 5), (1, 4)), ())


def test_plain_pictures_of_different_greys_are_different() -> None:
    images = np.repeat(np.arange(0, 250, 25, dtype=np.uint8), 64).reshape(10, 8, 8)
    assert find_duplicates(images) == Duplicates((), ())


def test_texts_and_nothing_have_no_duplicates() -> None:
    assert find_duplicates(Texts(("a", "a"))) == Duplicates((), ())
    assert find_duplicates(np.empty((0, 8, 8), np.uint8)) == Duplicates((), ())


def test_every_pair_at_two_bits_is_found() -> None:
    """Compared with trying all pairs."""
    from modelpad.datasets import duplicates as module

    rng = np.random.default_rng(0)
    base = rng.integers(0, 2**63, 300, dtype=np.uint64)
    hashes = np.unique(np.concatenate([base, base ^ (np.uint64(1) << np.uint64(40))]))
    order = np.arange(len(hashes))
    pairs = module.compare_hashes(hashes, order)
    found = {pair for ones, others in pairs for pair in zip(ones, others, strict=True)}
    assert len(found) >= 300
    assert all(bin(int(hashes[a] ^ hashes[b])).count("1") <= 2 for a, b in found)


def test_thousands_of_frames_of_one_scene_stay_together_in_little_time() -> None:
    from modelpad.datasets import duplicates as module

    rng = np.random.default_rng(0)
    flips = np.uint64(1) << rng.integers(0, 64, (30_000, 2)).astype(np.uint64)
    hashes = np.uint64(0x0123_4567_89AB_CDEF) ^ np.bitwise_xor.reduce(flips, axis=1)
    greys = np.zeros((len(hashes), 8, 8), np.uint8)
    found = module.merge(len(hashes), module.list_lookalikes(hashes, greys))
    assert [len(members) for members in found] == [len(hashes)]


@pytest.mark.parametrize("groups", [None, np.array([7, 7, 8, 9, 9, 10])])
def test_duplicates_join_groups(groups: NDArray[np.int64] | None) -> None:
    found = Duplicates(((1, 2),), ((4, 5),)).groups(6, groups)
    expected = [0, 1, 1, 3, 4, 4] if groups is None else [0, 0, 0, 3, 3, 3]
    assert found.tolist() == expected


def test_leaks_are_pairs_across_two_splits(tmp_path: Path) -> None:
    files = write_pictures(tmp_path)
    assert find_leaks(as_inputs(files[:15]), as_inputs(files[15:])) == []
    train, test = as_inputs([*files[:15], files[14]]), as_inputs([files[18], files[3], files[14]])
    assert find_leaks(train, test) == [(3, 1), (14, 2)]
