"""Archives of data sets: zip, tar and single files, plain or compressed."""

from __future__ import annotations

import shutil
from contextlib import suppress

from fuzz.files import make_folder
from modelpad.datasets.unpack import UnpackLimits, unpack_archive
from modelpad.errors import ModelpadError

DECODERS = ("modelpad.datasets.unpack", "modelpad.datasets.archive_members")
FOLDER = make_folder()
FILE = FOLDER / "archive.bin"
LIMITS = UnpackLimits(max_bytes=1 << 20, max_members=100)


def fuzz(data: bytes) -> None:
    """Unpacks the file; whether or not it can be, nothing may lie outside of its folder."""
    if data.startswith(b"PAR1"):
        return  # see the target `parquet_file`
    FILE.write_bytes(data)
    target = FOLDER / "target"
    shutil.rmtree(target, ignore_errors=True)
    with suppress(ModelpadError):
        unpack_archive(FILE, target, limits=LIMITS)
    assert {path.name for path in FOLDER.iterdir()} <= {"archive.bin", "target"}
    assert not any(path.is_symlink() for path in target.rglob("*"))
