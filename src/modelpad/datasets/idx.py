"""The IDX format of the MNIST files, read strictly, and written for tests and for data of your own.

Two zero bytes, one byte of type, one byte with the number of dimensions, each dimension as a
big-endian uint32, then the values. Only unsigned bytes (type 8) are read: images and labels
are stored as these. Independent of what the values mean.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modelpad.errors import DataSetInvalid

UNSIGNED_BYTE = 8
GZIP_MAGIC = b"\x1f\x8b"
MAX_CONTENT_BYTES = 4 << 30
CHUNK_BYTES = 1 << 20
REPLACE_HINT = "Delete it and get it again from its source."


def read_content(path: Path, *, limit_bytes: int = MAX_CONTENT_BYTES) -> bytes:
    """The content of `path`, decompressed if it is gzip (by its first bytes, not its name).

    Raises DataSetInvalid, naming the file, when the gzip stream is truncated or damaged, or holds
    more than `limit_bytes`.
    """
    content = bytearray()
    try:
        with path.open("rb") as raw:
            is_gzip = raw.read(2) == GZIP_MAGIC
            raw.seek(0)
            with gzip.open(raw, "rb") if is_gzip else raw as stream:
                while chunk := stream.read(CHUNK_BYTES):
                    content += chunk
                    if len(content) > limit_bytes:
                        raise damaged(path, f"holds more than {limit_bytes:,} bytes")
    except EOFError as error:
        reason = f"is truncated: its gzip stream ends early, after {len(content):,} bytes"
        raise damaged(path, reason) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise damaged(path, f"is damaged: {error}") from error
    except OSError as error:
        raise damaged(path, f"cannot be read: {error.strerror or error}") from error
    return bytes(content)


def parse_idx(content: bytes, path: Path) -> NDArray[np.uint8]:
    """The array in `content`, uint8, of the shape that its header declares; `path` is for errors.

    Raises DataSetInvalid for an empty file, a wrong magic number, an unsupported type, and for
    content shorter or longer than the header declares.
    """
    if len(content) < 4:
        raise damaged(path, f"is truncated: {len(content)} bytes, less than an IDX header")
    zeros, kind, dimensions = struct.unpack_from(">HBB", content)
    if zeros != 0 or dimensions == 0:
        raise damaged(path, f"is not an IDX file: it starts with {content[:4].hex()}")
    if kind != UNSIGNED_BYTE:
        raise damaged(path, f"contains values of IDX type 0x{kind:02x}, not unsigned bytes (0x08)")
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise damaged(path, f"is truncated: {len(content)} bytes, with a header of {start}")
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    expected, got = math.prod(shape), len(content) - start
    if got != expected:
        state = "is truncated" if got < expected else "has bytes left over"
        declared = " x ".join(f"{length:,}" for length in shape)
        raise damaged(
            path, f"{state}: its header declares {declared} values but it contains {got:,}"
        )
    try:
        return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
    except ValueError as error:  # too many dimensions, or a length of 0 combined with huge ones
        raise damaged(path, f"has dimensions that no array can have: {error}") from error


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array in an IDX file, plain or gzip, uint8. Raises DataSetInvalid (see `parse_idx`)."""
    return parse_idx(read_content(path), path)


def encode_idx(array: NDArray[np.uint8]) -> bytes:
    """`array` (uint8, one dimension or more) in the IDX format, not compressed."""
    header = struct.pack(">HBB", 0, UNSIGNED_BYTE, array.ndim)
    return header + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def damaged(path: Path, reason: str) -> DataSetInvalid:
    """The error for a damaged file `path`; to be raised by the caller."""
    return DataSetInvalid(f"{path} {reason}.", hint=REPLACE_HINT, path=str(path))
