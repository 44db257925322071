"""The named data sets: where they are looked up, and what is known of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from modelpad.datasets.catalogue import CATALOGUE, FLOWERS, MNIST, data_set_names, find_data_set


def test_names_are_sorted() -> None:
    names = (
        "ants-bees",
        "flowers",
        "imdb",
        "mnist",
        "uci-digits",
        "wikipedia",
        "wikitext-103",
        "xray",
    )
    assert data_set_names() == names


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.name)
def test_every_download_has_a_checksum(entry: Any) -> None:
    assert bool(entry.files) == bool(entry.mirrors)
    assert all(re.fullmatch("[0-9a-f]{64}", file.sha256) for file in entry.files)
    assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in entry.mirrors)
    assert entry.title
    assert entry.licence
    assert entry.source


def test_roots_come_before_the_cache(tmp_path: Path) -> None:
    roots, cache = [tmp_path / "one", tmp_path / "two"], tmp_path / "cache"
    assert find_data_set(FLOWERS, roots, cache) is None
    (cache / "flowers" / "train" / "daisy").mkdir(parents=True)
    assert find_data_set(FLOWERS, roots, cache) == cache / "flowers"
    (roots[1] / "flowers" / "train" / "daisy").mkdir(parents=True)
    (roots[0] / "flowers").mkdir(parents=True)  # empty: it does not count
    assert find_data_set(FLOWERS, roots, cache) == roots[1] / "flowers"


def test_a_decompressed_file_counts(tmp_path: Path) -> None:
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte").touch()
    assert find_data_set(MNIST, [tmp_path], None) == tmp_path / "mnist"
