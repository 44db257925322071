"""Parquet files of data sets."""

from __future__ import annotations

import shutil

import pyarrow  # noqa: F401  (without it the target is skipped)

from fuzz.files import make_folder
from modelpad.datasets.unpack import UnpackLimits, unpack_archive

DECODERS = ("modelpad.datasets.parquet",)
FOLDER = make_folder()
FILE = FOLDER / "table.parquet"
LIMITS = UnpackLimits(max_bytes=1 << 20, max_members=100)


def fuzz(data: bytes) -> None:
    """Unpacks the file if it begins as a parquet file does."""
    if not data.startswith(b"PAR1"):
        return
    FILE.write_bytes(data)
    target = FOLDER / "target"
    shutil.rmtree(target, ignore_errors=True)
    unpack_archive(FILE, target, limits=LIMITS)
