"""`modelpad predict` with a model whose output is a picture."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    """Names of photographs in the working folder, of several formats."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    for name in ("cat.jpg", "dog.png", "emu.webp"):
        Image.fromarray(pixels).save(tmp_path / name)
    return ["cat.jpg", "dog.png", "emu.webp"]


def test_a_folder_gets_a_picture_for_each_input(
    run_modelpad: Any, styles: str, photos: list[str], tmp_path: Path
) -> None:
    done = run_modelpad("predict", styles, *photos, "-o", "out/", "--set", "style=scream")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [f"out/{name}" for name in photos]
    for name in photos:
        with Image.open(tmp_path / "out" / name) as painted, Image.open(tmp_path / name) as photo:
            assert (painted.size, painted.format) == (photo.size, photo.format)
            assert np.abs(np.asarray(painted).astype(int) - np.asarray(photo)).mean() > 5


def test_one_file_and_another_format(
    run_modelpad: Any, styles: str, photos: list[str], tmp_path: Path
) -> None:
    assert run_modelpad("predict", styles, "cat.jpg", "-o", "a.webp").returncode == 0
    with Image.open(tmp_path / "a.webp") as painted:
        assert painted.format == "WEBP"
    options = ("-o", "out", "--format", "png", "--set", "strength=0")
    assert run_modelpad("predict", styles, "cat.jpg", *options).returncode == 0
    with Image.open(tmp_path / "out/cat.png") as painted, Image.open(tmp_path / "cat.jpg") as photo:
        assert np.array_equal(np.asarray(painted), np.asarray(photo))


def test_a_pipe_goes_through(styles: str, photos: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "modelpad", "predict", styles, "-", "--format", "jpeg"],
        input=(tmp_path / "cat.jpg").read_bytes(),
        stdout=subprocess.PIPE,
        env=os.environ | {"MODELPAD_STORE": str(tmp_path / "store")},
        check=True,
        timeout=120,
    )
    assert done.stdout.startswith(b"\xff\xd8\xff")


def test_a_bad_file_does_not_stop_the_others(
    run_modelpad: Any, styles: str, photos: list[str], tmp_path: Path
) -> None:
    (tmp_path / "no.jpg").write_text("text")
    done = run_modelpad("predict", styles, "no.jpg", "gone.jpg", *photos, "-o", "out/")
    assert done.returncode == 1
    assert "no.jpg" in done.stderr
    assert "gone.jpg" in done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == photos


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cat.jpg"], "Say where"),
        (["cat.jpg", "--json", "-o", "out/"], "Write files"),
        (["cat.jpg", "dog.png", "-o", "one.png"], "neither a folder"),
        (["cat.jpg", "./cat.jpg", "-o", "out/"], "same name"),
        (["cat.jpg", "-o", "."], "overwritten"),
        (["cat.jpg", "-o", "out/", "--set", "style"], "NAME=VALUE"),
    ],
)
def test_wrong_usage_writes_nothing(
    run_modelpad: Any,
    styles: str,
    photos: list[str],
    arguments: list[str],
    words: str,
    tmp_path: Path,
) -> None:
    before = (tmp_path / "cat.jpg").read_bytes()
    done = run_modelpad("predict", styles, *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert (tmp_path / "cat.jpg").read_bytes() == before
    assert not [*tmp_path.glob("out/*")]


@pytest.mark.parametrize(
    ("setting", "words"), [("style=monet", "wave, scream"), ("strength=7", "strength")]
)
def test_unknown_settings_are_explained(
    run_modelpad: Any, styles: str, photos: list[str], setting: str, words: str
) -> None:
    done = run_modelpad("predict", styles, "cat.jpg", "-o", "out/", "--set", setting)
    assert done.returncode == 1
    assert words in done.stderr
