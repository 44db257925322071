"""Files that people send as pictures, good and bad, with what they get for them."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageCms

GPS = 0x8825  # of EXIF
SECRET = b"here I live"


@dataclass(frozen=True)
class File:
    """A file; `size` is that of its picture, or `words` are in the error with this status."""

    name: str
    body: bytes
    size: tuple[int, int] | None = None
    words: str = ""
    status: int = 422


def write_picture(
    form: str = "JPEG", size: tuple[int, int] = (50, 31), mode: str = "RGB", **more: Any
) -> bytes:
    """A picture's file with structure."""
    coarse = np.random.default_rng(0).integers(0, 256, (4, 5, 3)).astype(np.uint8)
    return save(Image.fromarray(coarse).resize(size).convert(mode), form, **more)


def write_animation(form: str, count: int = 4, side: int = 24, clear: bool = False) -> bytes:
    """A bar that moves over a picture, or over nothing, for ever."""
    picture = Image.open(io.BytesIO(write_picture("PNG", (side, side), "RGBA")))
    back = Image.new("RGBA", picture.size) if clear else picture
    frames = [back.copy() for _ in range(count)]
    for number, frame in enumerate(frames):
        frame.paste((255, 255, 0, 255), (number * 4, 3, number * 4 + 5, side - 3))
    durations = [50 + 10 * number for number in range(count)]
    options = {"append_images": frames[1:], "duration": durations, "disposal": 2, "loop": 0}
    return save(frames[0], form, save_all=True, **options)


def write_png(
    width: int, height: int, depth: int, colour: int, rows: bytes = b"", clear: bytes = b""
) -> bytes:
    """A PNG as its specification says, of kinds that Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    head = chunk(b"IHDR", head) + (chunk(b"tRNS", clear) if clear else b"")
    body = head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def write_located(form: str, **more: Any) -> bytes:
    """A picture that lies on its side, with a place in its EXIF."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, SECRET.decode()
    exif[GPS] = {1: "N", 2: (47.0, 22.0, 7.0), 3: "E", 4: (8.0, 32.0, 30.0)}
    body = write_picture(form, exif=exif, **more)
    assert SECRET in body
    return body


def make_profile() -> bytes:
    """A colour profile: sRGB's under another name, with red and green exchanged."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for old, new in ((b"rXYZ", b"?"), (b"gXYZ", b"rXYZ"), (b"?", b"gXYZ"), (b"s\0R", b"t\0R")):
        assert old in profile
        profile = profile.replace(old, new)
    return profile


def save(picture: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def list_files() -> list[File]:
    """The table."""
    deep = Image.fromarray(np.full((5, 7), 40_000, np.uint16))
    return [
        File("one.png", write_picture("PNG", (1, 1)), (1, 1)),
        File("thin.webp", write_picture("WEBP", (1, 70)), (1, 70)),
        File("press.jpg", write_picture(mode="CMYK"), (50, 31)),
        File("print.tif", write_picture("TIFF", mode="CMYK"), (50, 31)),
        File("bits.png", write_picture("PNG", mode="1"), (50, 31)),
        File("grey.jpg", write_picture(mode="L"), (50, 31)),
        File("side.jpg", write_located("JPEG"), (31, 50)),
        File("side.png", write_located("PNG"), (31, 50)),
        File("deep.png", save(deep, "PNG"), (7, 5)),
        File("scan.tif", save(deep, "TIFF"), (7, 5)),
        File("deeper.png", write_png(2, 1, 16, 2, bytes(13)), (2, 1)),
        File("moving.gif", write_animation("GIF"), (24, 24)),
        File("text.jpg", b"no picture", words="not a picture in a supported format"),
        File("none.jpg", b"", words="empty (0 bytes)"),
        File("half.jpg", write_picture(size=(300, 300))[:2000], words="truncated"),
        File("half.png", write_picture("PNG", (300, 300))[:2000], words="truncated"),
        File("half.webp", write_picture("WEBP", (300, 300))[:300], words=""),
        File("half.gif", write_animation("GIF")[:-200], words="truncated"),
        File("head.png", write_picture("PNG")[:20], words="not a picture"),
        File("huge.png", write_png(20_000, 20_000, 1, 0), words="too many pixels", status=413),
        File("large.png", write_png(9_000, 10_000, 1, 0), words="9,000 x 10,000", status=413),
    ]
