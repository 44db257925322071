"""Sound: WAV files of every common form, at any rate, as the samples that a model expects."""

from __future__ import annotations

import base64
import io
import struct
import wave
from typing import Any

import numpy as np
import pytest

from modelpad.errors import InvalidInput, TooLarge
from modelpad.fields import Audio
from modelpad.fields.sound import MAX_SAMPLES, read_sound, resample, write_sound

TONE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(1600) / 16_000)
SOUND = write_sound(TONE, 16_000)


def write(frames: bytes, form: tuple[int, int, int, int], extra: bytes = b"") -> bytes:
    """A WAV file of `frames`; `form` is code, channels, rate, bits."""
    code, channels, rate, bits = form
    width = channels * bits // 8
    head = struct.pack("<HHIIHH", code, channels, rate, rate * width, width, bits) + extra
    chunks = [(b"fmt ", head), (b"LIST", b"odd"), (b"data", frames)]
    body = b"".join(
        name + struct.pack("<I", len(part)) + part + b"\0" * (len(part) % 2)
        for name, part in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WAVE" + body


def pack_24(samples: Any) -> bytes:
    whole = np.rint(samples * (2**23 - 1)).astype("<i4")
    packed: bytes = whole.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    return packed


EXTENDED = struct.pack("<HHI", 22, 24, 0) + struct.pack("<H", 1) + b"\0" * 14
STEREO = np.stack([TONE * 2, TONE * 0], axis=1)
FORMS = {
    "8": (write(np.rint(TONE * 127 + 128).astype("u1").tobytes(), (1, 1, 16_000, 8)), 1e-2),
    "16": (SOUND, 1e-4),
    "24": (write(pack_24(TONE), (1, 1, 16_000, 24)), 1e-6),
    "24, extended": (write(pack_24(TONE), (0xFFFE, 1, 16_000, 24), EXTENDED), 1e-6),
    "32": (write(np.rint(TONE * 2**31).astype("<i4").tobytes(), (1, 1, 16_000, 32)), 1e-6),
    "float": (write(TONE.astype("<f4").tobytes(), (3, 1, 16_000, 32)), 1e-6),
    "double": (write(TONE.astype("<f8").tobytes(), (3, 1, 16_000, 64)), 1e-6),
    "stereo": (write(STEREO.astype("<f4").tobytes(), (3, 2, 16_000, 32)), 1e-6),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_samples_is_read(form: str) -> None:
    body, tolerance = FORMS[form]
    decoded = Audio().decode(body)
    assert decoded.dtype == np.float32
    np.testing.assert_allclose(decoded, TONE, atol=tolerance)


def test_pythons_own_module_reads_what_is_written() -> None:
    with wave.open(io.BytesIO(SOUND)) as file:
        assert file.getparams()[:4] == (1, 2, 16_000, 1600)


def test_base64_data_urls_and_numbers_are_taken() -> None:
    text = base64.b64encode(SOUND).decode()
    for value in (text, f"data:audio/wav;base64,{text}", {"b64": text}):
        np.testing.assert_array_equal(Audio().decode(value), Audio().decode(SOUND))
    assert Audio(length=3).decode([5, -5, 0.5]).tolist() == [5, -5, 0.5]  # as they are


@pytest.mark.parametrize(("rate", "wanted"), [(44_100, 16_000), (8_000, 16_000), (11_025, 48_000)])
def test_another_rate_keeps_the_tone(rate: int, wanted: int) -> None:
    """Away from the ends, where the tone begins at once, which a limited band cannot hold."""

    def play(rate: int) -> Any:
        return np.sin(2 * np.pi * 440 * np.arange(rate) / rate)

    made, expected = resample(play(rate).astype(np.float32), rate, wanted), play(wanted)
    assert abs(len(made) - len(expected)) <= 1
    middle = slice(wanted // 8, wanted // 4)
    np.testing.assert_allclose(made[middle], expected[middle], atol=2e-3)


def test_what_a_lower_rate_cannot_hold_is_removed() -> None:
    high = np.sin(2 * np.pi * 7_000 * np.arange(16_000) / 16_000).astype(np.float32)
    assert np.abs(resample(high, 16_000, 8_000)[1000:7000]).max() < 0.01


def test_a_shorter_sound_is_followed_by_silence() -> None:
    decoded = Audio(length=2000).decode(SOUND)
    np.testing.assert_allclose(decoded[:1600], TONE, atol=1e-4)
    assert not decoded[1600:].any()


def test_a_file_of_unknown_length_is_read_to_its_end() -> None:
    body = bytearray(SOUND)
    body[40:44] = b"\xff" * 4  # as ffmpeg writes to a pipe
    assert len(Audio().decode(bytes(body))) == 1600


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"ID3 of an MP3", "ffmpeg"),
        (SOUND[:30], "without samples"),
        (SOUND[:-2], "truncated"),
        (write(b"", (1, 1, 16_000, 16)), "no samples"),
        (write(b"12345678", (2, 1, 16_000, 4)), "compressed"),
        (write(b"12345678", (1, 0, 16_000, 16)), "0 channels"),
        (write(b"12345678", (1, 1, 7, 16)), "7 Hz"),
        (write(np.array([np.nan], np.float32).tobytes(), (3, 1, 16_000, 32)), "NaN"),
        (write(np.array([1e300]).tobytes(), (3, 1, 16_000, 64)), "too loud"),
        (b"", "0 bytes"),
        (5, "not a sound"),
    ],
)
def test_anything_else_is_explained(body: object, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Audio("word").decode(body)
    assert words in f"{caught.value.words} {caught.value.details}"
    assert caught.value.details["field"] == "word"


def test_a_longer_sound_is_rejected() -> None:
    with pytest.raises(InvalidInput, match="too long") as caught:
        Audio(length=800).decode(SOUND)
    assert caught.value.hint == "Cut it to 0.05 seconds."


def test_too_many_samples_are_rejected_before_they_are_made() -> None:
    slow = write_sound(np.zeros(MAX_SAMPLES // 40), 1_000)
    with pytest.raises(TooLarge):
        Audio(rate=48_000).decode(slow)
    with pytest.raises(TooLarge):
        read_sound(write(b"\x80" * (MAX_SAMPLES + 1), (1, 1, 16_000, 8)), field="word")
