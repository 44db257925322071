"""One SHA-256 for all files of a data set, to tell whether two copies are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from modelpad.datasets.unpack import hash_file


def checksum_files(files: Sequence[Path], base: Path) -> str:
    """The SHA-256, in hexadecimal, of the sorted lines `SHA256  NAME`, one per file.

    NAME is relative to `base`, with `/`: the same as `sha256sum` prints. Reads every file. Raises
    DataSetInvalid when one cannot be read.
    """
    names = sorted(path.relative_to(base).as_posix() for path in files)
    lines = "".join(f"{hash_file(base / name)}  {name}\n" for name in names)
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()
