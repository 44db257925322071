"""`modelpad predict` with videos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelpad.cli.video_files import describe_progress, plan_videos
from modelpad.errors import UsageError
from modelpad.video import Progress
from tests.video_parts import read_times, write_clip, write_painter


def test_videos_are_painted(run_modelpad: Any, tmp_path: Path) -> None:
    painter = str(write_painter(tmp_path / "negative").folder)
    clip = write_clip(tmp_path / "clip.mp4", 5)
    (tmp_path / "no.mov").write_text("text")
    options = ("-o", "out/", "--set", "strength=.5")
    done = run_modelpad("predict", painter, "clip.mp4", "no.mov", *options)
    assert done.returncode == 1
    assert done.stdout == "out/clip.mp4\n", done.stderr
    assert "no.mov is not a video" in done.stderr
    assert read_times(tmp_path / "out/clip.mp4") == read_times(clip)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize(
    ("inputs", "output", "words"),
    [
        (["a.mp4"], None, "Say where to"),
        (["a.mp4"], "-", "Say where to"),
        (["a.mp4"], "b.webm", "not written as .webm"),
        (["a.mp4"], "b.png", "not written as .png"),
        (["a.mp4"], "a.mp4", "overwritten"),
        (["a.mp4", "b.mp4"], "c.mp4", "Give a folder, as c/"),
        (["a.mp4", "x/a.mp4"], "out/", "same name"),
        (["a.mp4", "b.jpg"], "out/", "Predict pictures and videos one after the other"),
    ],
)
def test_where_videos_cannot_go(inputs: list[str], output: str | None, words: str) -> None:
    with pytest.raises(UsageError) as error:
        plan_videos(inputs, output)
    assert words in error.value.words


def test_where_videos_go() -> None:
    assert plan_videos(["a.avi"], "b.mkv") == [Path("b.mkv")]
    assert plan_videos(["a.avi", "b.MOV"], "out") == [Path("out/a.mp4"), Path("out/b.MOV")]


def test_a_link_is_followed(tmp_path: Path) -> None:
    link = tmp_path / "latest.mp4"
    link.symlink_to(Path("kept", "one.mp4"))
    assert plan_videos(["a.avi"], str(link)) == [tmp_path / "kept" / "one.mp4"]


def test_progress_says_how_long_it_takes() -> None:
    def describe(frames: int, total: int | None, speed: float) -> str:
        return describe_progress(Progress(frames, total, 0, speed, None))  # type: ignore[arg-type]

    assert describe(1200, 9000, 24.14) == "1,200 of 9,000 frames, 24.1 frames/s, 5:23 left"
    assert describe(1200, 90_000, 24) == "1,200 of 90,000 frames, 24.0 frames/s, 1:01:40 left"
    assert describe(1200, None, 24) == "1,200 frames, 24.0 frames/s"
