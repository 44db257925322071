"""What is no video, and what is too large, is reported before anything is painted."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image

from modelpad.errors import InvalidInput, MissingExtra, ModelpadError, TooLarge
from modelpad.video.source import SourceLimits, VideoSource
from tests.video_parts import damage, write_clip, write_sound


def read_all(path: Path, limits: SourceLimits | None = None) -> int:
    with VideoSource(path, limits) as source:
        return sum(1 for _ in source.frames())


def make_files(folder: Path) -> dict[str, Path]:
    """Files that are no videos, by what is wrong with them."""
    clip = write_clip(folder / "clip.mp4", 60, (160, 96))
    names = ("text", "cut", "list", "empty", "folder", "gone", "picture")
    files = {name: folder / f"{name}.mp4" for name in names}
    files["text"].write_text("no video")
    files["cut"].write_bytes(clip.read_bytes()[:3000])
    files["list"].write_text(f"#EXTM3U\n#EXTINF:1,\n{clip}\n")
    files["empty"].write_bytes(b"")
    files["folder"].mkdir()
    Image.new("RGB", (8, 8)).save(files["picture"], "JPEG")
    return files | {
        "sound": write_sound(folder / "sound.mp4"),
        "damaged": damage(write_clip(folder / "damaged.mp4", 60, (160, 96), sound=None)),
    }


def test_files_that_are_no_videos(tmp_path: Path) -> None:
    words = {
        "text": "is not a video",
        "cut": "is not a video",
        "list": "is not a video",
        "empty": "is not a video",
        "picture": "is not a video",
        "folder": "is not a video",
        "gone": "does not exist",
        "sound": "has no pictures",
        "damaged": "is damaged after",
    }
    files = make_files(tmp_path)
    assert files.keys() == words.keys()
    for name, path in files.items():
        with pytest.raises(InvalidInput) as error:
            read_all(path)
        assert f"{path.name} {words[name]}" in error.value.message
        assert "MP4" in error.value.hint


def test_a_video_whose_end_is_missing(tmp_path: Path) -> None:
    """Also where the index comes first, so that what is there could be played."""
    clip = write_clip(tmp_path / "clip.mp4", 60, faststart=True)
    clip.write_bytes(clip.read_bytes()[:-2000])
    with pytest.raises(InvalidInput, match="cut off"):
        read_all(clip)


def test_limits(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 10)
    assert read_all(clip, SourceLimits(48 * 32, 10)) == 10
    with pytest.raises(TooLarge, match="48 x 32 pixels"):
        read_all(clip, SourceLimits(pixels=1000))
    with pytest.raises(TooLarge, match="more than 9 frames"):
        read_all(clip, SourceLimits(frames=9))


def test_times_rise_where_the_file_repeats_or_lacks_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with VideoSource(write_clip(tmp_path / "clip.mp4", 5)) as source:
        frames = [*source.frames()]
        for frame, time in zip(frames, (0, 0, None, 512, 9000), strict=True):
            frame.pts = time
        monkeypatch.setattr(source, "_chain", lambda: iter(frames))
        step = round(1 / (source.time_base * 25))
        assert [frame.pts for frame in source.frames()] == [0, 1, 1 + step, 2 + step, 9000]


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtra, match="av is not installed") as error:
        VideoSource(tmp_path / "clip.mp4")
    assert isinstance(error.value, ModelpadError)
    assert "modelpad[video]" in error.value.hint
