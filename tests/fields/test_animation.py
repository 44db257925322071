"""Animated pictures: frames as they are shown, timing, loops, transparency, limits."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from modelpad.errors import InvalidInput, TooLarge
from modelpad.fields import animation
from modelpad.fields.animation import Animation, AnimationWriter, Timing, read_animation
from modelpad.fields.picture_format import PictureFormat

SIZE = (24, 16)
DURATIONS = (40, 120, 70)


def draw(at: int, clear: bool = False) -> Image.Image:
    """A square on blue, or on nothing."""
    frame = Image.new("RGBA", SIZE, (0, 0, 0, 0) if clear else (0, 0, 255, 255))
    frame.paste((255, 0, 0, 255), (at, 4, at + 6, 10))
    return frame


def write(form: str = "GIF", clear: bool = False, count: int = 3, **more: Any) -> bytes:
    """An animation of a square that moves."""
    frames = [draw(2 + 5 * number, clear) for number in range(count)]
    file = io.BytesIO()
    options = {"duration": [*DURATIONS[:count]], "disposal": 2} | more
    if form == "WEBP":
        options["lossless"] = True
    frames[0].save(file, form, save_all=True, append_images=frames[1:], **options)
    return file.getvalue()


def read(body: bytes) -> Animation:
    found = read_animation(body, field="image")
    assert found is not None
    return found


def repaint(body: bytes, name: str) -> Animation:
    """The animation that is written from the frames of another."""
    given = read(body)
    writer = AnimationWriter(PictureFormat(name, 100), given.timing)
    for frame in given.frames():
        writer.add(np.asarray(frame))
    return read(writer.write())


def pixels(found: Animation) -> list[NDArray[np.int64]]:
    return [np.asarray(frame.convert("RGBA")).astype(int) for frame in found.frames()]


@pytest.mark.parametrize("clear", [False, True])
@pytest.mark.parametrize("written", ["gif", "webp"])
@pytest.mark.parametrize("form", ["GIF", "WEBP"])
def test_frames_and_timing_go_through(form: str, written: str, clear: bool) -> None:
    given = read(write(form, clear, loop=3))
    found = repaint(write(form, clear, loop=3), written)
    assert given.timing == found.timing == Timing(DURATIONS, 4 if form == "GIF" else 3)
    assert given.is_transparent == found.is_transparent == clear
    assert given.size == found.size == SIZE
    for number, frames in enumerate(zip(pixels(given), pixels(found), strict=True)):
        expected = np.asarray(draw(2 + 5 * number, clear)).astype(int)
        for frame in frames:
            assert np.array_equal(frame[..., 3], expected[..., 3])
            shown = expected[..., 3] > 0
            assert np.abs(frame - expected)[shown].mean() < 12


@pytest.mark.parametrize(("loop", "plays"), [(None, 1), (0, 0), (1, 2)])
def test_a_gif_that_plays_once_does_so_as_webp(loop: int | None, plays: int) -> None:
    options: dict[str, Any] = {} if loop is None else {"loop": loop}
    body = write(**options)
    for name in ("gif", "webp"):
        assert repaint(body, name).timing.plays == plays


def test_a_gif_keeps_the_length_of_thirty_frames_a_second() -> None:
    rounded = animation.round_durations((33,) * 30)
    assert abs(sum(rounded) - 990) <= 10
    assert {*rounded} == {30, 40}
    assert animation.round_durations((1, 0, 100)) == [20, 0, 80]


def test_frames_that_leave_out_what_stays_are_shown_whole() -> None:
    """A GIF whose second frame is a small square, and its first one remains around it."""
    green = Image.new("RGB", SIZE, (0, 255, 0))
    both = green.copy()
    both.paste((255, 0, 0), (3, 3, 11, 11))
    file = io.BytesIO()
    green.save(file, "GIF", save_all=True, append_images=[both], duration=50, loop=0)
    first, second = pixels(repaint(file.getvalue(), "webp"))
    assert np.abs(first[:, :, :3] - (0, 255, 0)).max() < 30
    assert np.abs(second[0, 0, :3] - (0, 255, 0)).max() < 30
    assert np.abs(second[7, 7, :3] - (255, 0, 0)).max() < 30


def test_still_pictures_are_no_animations() -> None:
    for form in ("GIF", "WEBP", "PNG"):
        file = io.BytesIO()
        draw(3).save(file, form)
        assert read_animation(file.getvalue(), field="image") is None


def test_limits_name_the_field(monkeypatch: pytest.MonkeyPatch) -> None:
    for form in ("GIF", "WEBP"):
        body = write(form)
        with monkeypatch.context() as patch:
            patch.setattr(animation, "MAX_FRAMES", 2)
            with pytest.raises(TooLarge, match="more than 2 frames") as caught:
                read(body)
            assert caught.value.details["field"] == "image"
        with monkeypatch.context() as patch:
            patch.setattr(animation, "MAX_TOTAL_PIXELS", 3 * 24 * 16 - 1)
            with pytest.raises(TooLarge, match="pixels together"):
                read(body)


@pytest.mark.parametrize("form", ["GIF", "WEBP"])
def test_a_broken_frame_is_found_before_any_is_painted(form: str) -> None:
    body = write(form)
    with pytest.raises(InvalidInput) as caught:
        read(body[: len(body) - 40])
    assert caught.value.details["field"] == "image"
