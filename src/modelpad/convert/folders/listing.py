"""Reads folders and small files that may be hostile: counts, sizes and links are limited."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from modelpad.errors import ConversionFailed, NotTrusted, TooLarge

MAX_ENTRIES = 2000  # of a folder
MAX_TEXT_BYTES = 1 << 20  # of a configuration or a list of class names


def list_folder(folder: Path) -> list[Path]:
    """The entries of a folder by name, without hidden ones.

    Raises:
        TooLarge: there are too many.
        ConversionFailed: it cannot be read.
    """
    try:
        entries = list(islice(folder.iterdir(), MAX_ENTRIES + 1))
    except OSError as error:
        raise ConversionFailed(
            f"{folder} cannot be read: {error.strerror}.", hint="Check its permissions."
        ) from error
    if len(entries) > MAX_ENTRIES:
        raise TooLarge(
            f"{folder} has more than {MAX_ENTRIES:,} entries.",
            hint="Give the folder of a model, or of fewer models.",
            limit=MAX_ENTRIES,
            got=len(entries),
        )
    return sorted(entry for entry in entries if not entry.name.startswith(("._", ".", "__")))


def check_inside(path: Path, root: Path) -> Path:
    """`path`, if it is inside `root` when links are followed; else raises `NotTrusted`."""
    try:
        is_inside = path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # a circle of links
        is_inside = False
    if not is_inside:
        raise NotTrusted(
            f"{path.name} leads out of {root.name}.",
            hint="Copy what it leads to into the folder.",
            found=[str(path)],
        )
    return path


def read_text(path: Path, root: Path) -> str:
    """A small UTF-8 file inside `root`.

    Raises:
        NotTrusted: it is a link that leads out of `root`.
        TooLarge: it is larger than `MAX_TEXT_BYTES`.
        ConversionFailed: it cannot be read, or is not UTF-8.
    """
    check_inside(path, root)
    try:
        with path.open("rb") as file:
            body = file.read(MAX_TEXT_BYTES + 1)
        text = body.decode("utf-8-sig")
    except OSError as error:
        raise ConversionFailed(
            f"{path} cannot be read: {error.strerror}.", hint="Check that it exists."
        ) from error
    except UnicodeDecodeError as error:
        raise ConversionFailed(f"{path.name} is not UTF-8.", hint="Save it as UTF-8.") from error
    if len(body) > MAX_TEXT_BYTES:
        raise TooLarge(
            f"{path.name} has more than {MAX_TEXT_BYTES:,} bytes.",
            hint="Do not use this folder.",
            limit=MAX_TEXT_BYTES,
            got=len(body),
        )
    return text


def version_number(path: Path) -> int | None:
    """The version that a folder's name is; None if it is none."""
    name = path.name
    is_number = name.isascii() and name.isdecimal() and len(name) <= 18 and int(name) > 0
    return int(name) if is_number and path.is_dir() else None
