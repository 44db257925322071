"""Painting whole videos: what is kept of the source, and what happens to a run that is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelpad.errors import InvalidInput, ModelpadError
from modelpad.store import ResolvedBundle
from modelpad.video import PaintRequest, Progress, paint_video
from modelpad.video.painter import plan_threads
from modelpad.video.parts import Parts, folder_beside
from tests.video_parts import damage, open_video, read_pixels, read_sound, read_times, write_clip

Paint = Callable[..., int]
Watch = Callable[[Progress], None]
# Paints as `modelpad predict` does, in a process of its own, and is killed after as many frames.
ALONE = """
import os, signal, sys
from pathlib import Path
from modelpad.bundle import open_bundle
from modelpad.store import ResolvedBundle
from modelpad.video import PaintRequest, paint_video
from modelpad.video.parts import Parts, folder_beside

model = ResolvedBundle("negative", 1, open_bundle(Path(sys.argv[1])))
source, target = map(Path, sys.argv[2:4])

def watch(progress):
    print(progress.frames, progress.total, progress.resumed)
    if progress.frames == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)

paint_video(PaintRequest(model, {}, source, target), Parts(folder_beside(target)), watch)
"""


@pytest.fixture
def paint(negative: ResolvedBundle) -> Paint:
    def run(source: Path, target: Path, watch: Watch = lambda progress: None, **values: Any) -> int:
        request = PaintRequest(negative, values, source, target)
        return paint_video(request, Parts(folder_beside(target)), watch)

    return run


def test_frames_sound_and_rotation_are_kept_also_by_a_killed_run(
    negative: ResolvedBundle, tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 200, rotation=90)
    whole, resumed = tmp_path / "whole.mp4", tmp_path / "resumed.mp4"

    def paint_alone(target: Path, killed_after: int = 0) -> subprocess.CompletedProcess[str]:
        arguments = [str(negative.bundle.folder), str(clip), str(target), str(killed_after)]
        return subprocess.run(
            [sys.executable, "-c", ALONE, *arguments], capture_output=True, text=True, timeout=60
        )

    assert paint_alone(whole).returncode == 0
    assert read_times(whole) == read_times(clip)
    assert read_sound(whole) == read_sound(clip)
    with open_video(clip) as given, open_video(whole) as made:
        assert made.duration == given.duration
        assert made.streams.audio[0].duration == given.streams.audio[0].duration
        assert [next(each.decode(video=0)).rotation for each in (given, made)] == [90, 90]
    difference = read_pixels(whole).astype(int) - (255 - read_pixels(clip).astype(int))
    assert np.abs(difference).mean() < 6  # encoded twice

    assert paint_alone(resumed, killed_after=150).returncode == -signal.SIGKILL
    assert not resumed.exists()
    again = paint_alone(resumed)
    assert again.stdout.splitlines()[0] == "101 200 100", again.stderr
    assert resumed.read_bytes() == whole.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"clip.mp4", "whole.mp4", "resumed.mp4"}


def test_other_settings_begin_anew(paint: Paint, tmp_path: Path) -> None:
    clip, target = write_clip(tmp_path / "clip.mp4", 110, sound=None), tmp_path / "painted.mp4"

    def stop(progress: Progress) -> None:
        if progress.frames == 105:
            raise KeyboardInterrupt

    watched: list[Progress] = []
    with pytest.raises(KeyboardInterrupt):
        paint(clip, target, stop, strength=0.5)
    assert len(Parts(folder_beside(target)).segments()) == 1
    paint(clip, target, watched.append, strength=0)
    assert watched[0].resumed == 0
    assert np.abs(read_pixels(target).astype(int) - read_pixels(clip)).mean() < 4


def test_a_run_that_is_stopped_before_it_joins(
    paint: Paint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, target = write_clip(tmp_path / "clip.mp4", 110, sound=None), tmp_path / "painted.mp4"
    with monkeypatch.context() as patch:
        patch.setattr("modelpad.video.painting.join", lambda *given: signal.raise_signal(2))
        with pytest.raises(KeyboardInterrupt):
            paint(clip, target)
    watched: list[Progress] = []
    assert paint(clip, target, watched.append) == 110
    assert watched == []
    assert read_times(target) == read_times(clip)


def test_uneven_times_and_odd_sizes(paint: Paint, tmp_path: Path) -> None:
    times = [0, 40, 50, 300, 301, 900]
    clip = write_clip(tmp_path / "clip.mkv", 6, (33, 17), sound="libopus", times=times)
    for name in ("painted.mp4", "painted.mkv"):
        assert paint(clip, tmp_path / name) == 6
        assert read_times(tmp_path / name) == [each / 1000 for each in times]
        assert read_sound(tmp_path / name) == read_sound(clip)
        assert read_pixels(tmp_path / name).shape == (18, 34, 3)


def test_sound_that_mp4_cannot_have_becomes_aac(paint: Paint, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.avi", 25, sound="pcm_s16le")
    paint(clip, tmp_path / "painted.mp4")
    with open_video(tmp_path / "painted.mp4") as made:
        (track,) = made.streams.audio
        assert track.codec_context.name == "aac"
        assert float(track.duration * track.time_base) == pytest.approx(1, abs=0.05)


def test_invalid_inputs_leave_no_trace(paint: Paint, tmp_path: Path, digits: object) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 2)
    for values in ({"strength": 7}, {"style": "wave"}, {"image": 1}):
        with pytest.raises(InvalidInput) as error:
            paint(clip, tmp_path / "painted.mp4", **values)
        assert error.value.details["field"] == next(iter(values))
    model = ResolvedBundle("digits", 1, digits)  # type: ignore[arg-type]
    request = PaintRequest(model, {}, clip, tmp_path / "painted.mp4")
    with pytest.raises(InvalidInput, match="does not make a picture of a picture"):
        paint_video(request, Parts(folder_beside(request.target)), print)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_what_cannot_be_written_or_read_to_its_end(paint: Paint, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 110, (160, 96))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ModelpadError, match="cannot be written"):
        paint(clip, tmp_path / "file" / "painted.mp4")
    damage(clip)
    with pytest.raises(InvalidInput, match="damaged after"):
        paint(clip, tmp_path / "painted.mp4")
    assert {path.name for path in tmp_path.iterdir()} == {"clip.mp4", "file"}


def test_large_frames_share_the_cores() -> None:
    assert plan_threads(640 * 360, 2) == (2, 1)
    assert plan_threads(3840 * 2160, 2) == (1, 2)
    assert plan_threads(1920 * 1080, 16) == (2, 8)
    assert plan_threads(1280 * 720, 16) == (6, 2)
