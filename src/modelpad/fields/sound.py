"""Reads WAV files as one channel of samples, and resamples them.

Python's `wave` reads neither floating-point files, which NumPy users write, nor before 3.12 the
extended headers that are usual with 24 bits.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

from modelpad.errors import InvalidInput, TooLarge
from modelpad.fields.file_bytes import FileKind, describe_bytes, read_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

SOUND = FileKind("sound", "audio/wav", "a WAV file, as bytes, base64 or a data: URL")
MIN_RATE, MAX_RATE = 1_000, 384_000  # samples a second
MAX_SAMPLES = 10_000_000  # of all channels: ten minutes at 16 kHz
MAX_CHANNELS = 32
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
DTYPES = {
    (PCM, 8): "u1",
    (PCM, 16): "<i2",
    (PCM, 32): "<i4",
    (FLOAT, 32): "<f4",
    (FLOAT, 64): "<f8",
}
UNKNOWN_BYTES = 0x7FFF0000  # such sizes stand for "until the end" in files written to a pipe
CONVERT = "Convert it: ffmpeg -i FILE sound.wav"
EDGE_S = 0.02  # of silence between the end of a sound and its beginning, which an FFT joins


def is_wav(body: bytes) -> bool:
    """Whether some bytes are the beginning of a WAV file."""
    return body[:4] == b"RIFF" and body[8:12] == b"WAVE"


def read_sound(value: object, *, field: str) -> tuple[Samples, int]:
    """The samples of a WAV file, -1..1, and how many there are in a second.

    Channels are averaged. Samples have 8, 16, 24 or 32 bits, or are floating-point numbers.

    Raises:
        InvalidInput: it is not a complete WAV file of such samples, or has none.
        TooLarge: it has more than `MAX_SAMPLES` samples.
    """
    body = read_bytes(value, SOUND, field=field)
    if not is_wav(body):
        raise _invalid(field, "is not a WAV file", describe_bytes(body))
    chunks = _find_chunks(body)
    if b"fmt " not in chunks or b"data" not in chunks:
        raise _invalid(field, "is a WAV file without samples", describe_bytes(body))
    code, channels, rate, bits = _read_format(body, *chunks[b"fmt "], field)
    start, size = chunks[b"data"]
    if size > len(body) - start and size < UNKNOWN_BYTES:
        got = f"{len(body) - start:,} of {size:,} bytes"
        raise _invalid(field, "is truncated", got, "Send the complete file.")
    frame_bytes = channels * bits // 8
    count = min(size, len(body) - start) // frame_bytes
    check_count(count * channels, field)
    if not count:
        raise _invalid(field, "has no samples", "0 samples", "Send a longer sound.")
    samples = _read_samples(body[start : start + count * frame_bytes], code, bits)
    return _mix(samples.reshape(count, channels), field), rate


def resample(samples: Samples, rate: int, wanted: int) -> Samples:
    """The samples at another rate, without the frequencies that it cannot hold (by FFT)."""
    import numpy as np

    if rate == wanted:
        return samples
    up, down = wanted // math.gcd(rate, wanted), rate // math.gcd(rate, wanted)
    blocks = -(-(len(samples) + round(EDGE_S * rate)) // down)
    spectrum = np.fft.rfft(samples, blocks * down)
    longer = np.fft.irfft(spectrum, blocks * up) * (up / down)
    return longer[: count_resampled(len(samples), rate, wanted)].astype(np.float32)


def count_resampled(count: int, rate: int, wanted: int) -> int:
    """How many samples there are at another rate."""
    return -(-count * wanted // rate)


def check_count(count: int, field: str) -> None:
    """Raises `TooLarge` for too many samples."""
    if count > MAX_SAMPLES:
        raise TooLarge(
            f"The sound in {field!r} has {count:,} samples; at most {MAX_SAMPLES:,} are allowed.",
            hint="Send a shorter one.",
            limit=MAX_SAMPLES,
            got=count,
        )


def write_sound(samples: NDArray[np.floating], rate: int) -> bytes:
    """A WAV file of one channel of samples -1..1, in 16 bits."""
    import numpy as np

    data: bytes = np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2").tobytes()
    form = struct.pack("<HHIIHH", PCM, 1, rate, 2 * rate, 2, 16)
    body = b"WAVE" + b"fmt " + struct.pack("<I", len(form)) + form
    body += b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _find_chunks(body: bytes) -> dict[bytes, tuple[int, int]]:
    """Where the chunks begin, and their sizes, as far as the samples."""
    chunks: dict[bytes, tuple[int, int]] = {}
    position = 12
    while position + 8 <= len(body) and b"data" not in chunks:
        name, size = struct.unpack_from("<4sI", body, position)
        chunks[name] = (position + 8, size)
        position += 8 + size + size % 2
    return chunks


def _read_format(body: bytes, start: int, size: int, field: str) -> tuple[int, int, int, int]:
    """Code, channels, rate, bits of a sample. Raises `InvalidInput`."""
    form = body[start : start + size]
    if len(form) < 16:
        raise _invalid(field, "has a broken header", describe_bytes(form))
    code, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", form)
    if code == EXTENSIBLE and len(form) >= 26:
        (code,) = struct.unpack_from("<H", form, 24)
    if (code, bits) not in DTYPES and (code, bits) != (PCM, 24):
        got = f"format {code} with {bits} bits"
        raise _invalid(field, "is a compressed WAV file", got, "Save it as 16-bit PCM.")
    if not 1 <= channels <= MAX_CHANNELS or not MIN_RATE <= rate <= MAX_RATE:
        got = f"{channels} channels at {rate:,} Hz"
        raise _invalid(field, "has an unusual format", got, "Save it as mono, at 16,000 Hz.")
    return code, channels, rate, bits


def _read_samples(data: bytes, code: int, bits: int) -> NDArray[np.floating]:
    """Samples of all channels, -1..1."""
    import numpy as np

    if code == FLOAT:
        numbers: NDArray[np.floating] = np.frombuffer(data, DTYPES[code, bits])
        return numbers
    if bits == 8:
        return (np.frombuffer(data, "u1").astype(np.float32) - 128) / 128
    if bits == 24:  # as the upper bytes of 32 bits
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        data, bits = wide.tobytes(), 32
    whole = np.frombuffer(data, DTYPES[code, bits])
    scaled: Samples = (whole / 2 ** (bits - 1)).astype(np.float32)
    return scaled


def _mix(samples: NDArray[np.floating], field: str) -> Samples:
    """The mean of the channels. Raises `InvalidInput`."""
    import numpy as np

    if not np.isfinite(samples).all():
        raise _invalid(
            field, "contains NaN or infinity", "NaN or infinity", "Save it as 16-bit PCM."
        )
    with np.errstate(over="ignore"):
        mixed: Samples = samples.mean(axis=1).astype(np.float32)
    if not np.isfinite(mixed).all():
        raise _invalid(field, "is too loud for float32", "numbers too large")
    return mixed


def _invalid(field: str, problem: str, got: str, hint: str = CONVERT) -> InvalidInput:
    return InvalidInput(
        f"The sound in {field!r} {problem}.",
        hint=hint,
        field=field,
        expected=SOUND.expected,
        got=got,
    )
