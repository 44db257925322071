"""A zip archive of an imported model, checked before a framework opens it."""

from __future__ import annotations

from fuzz.files import make_folder
from modelpad.convert.archives import check_zip

DECODERS = ("modelpad.convert.archives",)
FILE = make_folder() / "model.keras"


def fuzz(data: bytes) -> None:
    """Checks names and sizes."""
    FILE.write_bytes(data)
    for name in check_zip(FILE):
        assert ".." not in name.split("/"), name
