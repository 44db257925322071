"""`modelpad predict` with a model whose output is a picture."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modelpad.cli.live_line import LiveLine
from modelpad.fields.animation import read_animation
from tests.picture_files import File, list_files, save, write_animation


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
        [sys.executable, "-m", "modelpad", "predict", styles, "-", "-o", "-", "--format", "jpeg"],
        input=(tmp_path / "cat.jpg").read_bytes(),
        stdout=subprocess.PIPE,
        env=os.environ | {"MODELPAD_STORE": str(tmp_path / "store")},
        check=True,
        timeout=120,
    )
    assert done.stdout.startswith(b"\xff\xd8\xff")


def test_any_file_is_painted_or_explained(run_modelpad: Any, styles: str, tmp_path: Path) -> None:
    """The same files as over HTTP: a bad one does not stop the others."""
    files = [*list_files(), File("gone.jpg", b"", words="cannot be read")]
    for file in files[:-1]:
        (tmp_path / file.name).write_bytes(file.body)
    names = [file.name for file in files]
    done = run_modelpad("predict", styles, *names, "-o", "out/")
    assert done.returncode == 1
    assert "Warning" not in done.stderr
    reasons = dict(line.split(": ", 1) for line in done.stderr.splitlines())
    assert {*reasons} == {file.name for file in files if file.size is None}
    for file in files:
        painted = tmp_path / "out" / file.name
        if file.size is None:
            assert file.words in reasons[file.name]
            assert not painted.exists()
            continue
        suffix = painted.suffix if painted.suffix != ".tif" else ".png"
        with Image.open(painted.with_suffix(suffix)) as picture:
            assert picture.size == file.size


def test_transparency_and_frames_are_kept(run_modelpad: Any, styles: str, tmp_path: Path) -> None:
    pixels = np.full((20, 30, 4), 200, np.uint8)
    pixels[:10, :, 3] = 0
    (tmp_path / "a.png").write_bytes(save(Image.fromarray(pixels), "PNG"))
    body = write_animation("GIF", clear=True)
    (tmp_path / "b.gif").write_bytes(body)
    assert run_modelpad("predict", styles, "a.png", "b.gif", "-o", "out/").returncode == 0
    with Image.open(tmp_path / "out/a.png") as painted:
        assert np.array_equal(np.asarray(painted)[..., 3], pixels[..., 3])
    given = read_animation(body, field="")
    found = read_animation((tmp_path / "out/b.gif").read_bytes(), field="")
    assert found is not None
    assert given is not None
    assert (found.timing, found.is_transparent) == (given.timing, True)


def test_a_terminal_shows_progress_and_the_time_left(
    styles: str, photos: list[str], tmp_path: Path
) -> None:
    (tmp_path / "no.jpg").write_text("text")
    (tmp_path / "run.webp").write_bytes(write_animation("WEBP", 12))
    own, other = pty.openpty()
    names = [*photos, "no.jpg", "run.webp"]
    done = subprocess.run(
        [sys.executable, "-m", "modelpad", "predict", styles, *names, "-o", "out/"],
        stdout=subprocess.PIPE,
        stderr=other,
        cwd=tmp_path,
        env=os.environ | {"MODELPAD_STORE": str(tmp_path / "store")},
        timeout=120,
    )
    os.close(other)
    shown = os.read(own, 100_000).decode()
    os.close(own)
    assert done.returncode == 1
    assert len(done.stdout.split()) == 4
    lines = [line.strip() for line in shown.replace("\n", "\r").split("\r") if line.strip()]
    assert lines[0] == "1 of 5: cat.jpg"
    assert any(line.startswith("no.jpg: The value of 'image'") for line in lines)
    assert lines[-1].startswith("Painted 4 of 5 in ")


def test_a_line_on_a_terminal_is_removed_before_others() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out, now = Terminal(), iter([0.0, 0.0, 10.0, 10.0, 10.05, 20.0, 20.0])
    line = LiveLine(out, lambda: next(now))
    line.show("1 of 4", 0)
    line.show("2 of 4", 0.25)
    line.show("too soon", 0.3)
    line.show("3 of 4", 0.5)
    line.clear()
    line.clear()
    shown = [part.strip() for part in out.getvalue().split("\r")]
    assert shown == ["", "1 of 4", "2 of 4, 30 s left", "3 of 4, 20 s left", "", ""]


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
