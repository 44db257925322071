"""The metadata of the COVID chest X-ray collection: its rows, and the files that they name."""

from __future__ import annotations

from contextlib import suppress

from fuzz.files import make_folder
from modelpad.datasets.options import XrayOptions
from modelpad.datasets.xray import (
    METADATA,
    holds_xray_metadata,
    load_xray,
    locate_picture,
    read_metadata,
    select_rows,
)
from modelpad.errors import ModelpadError

DECODERS = ("modelpad.datasets.xray",)
FOLDER = make_folder()


def fuzz(data: bytes) -> None:
    """Reads the table, and looks for the pictures of all views that it names."""
    path = FOLDER / METADATA
    path.write_bytes(data)
    holds_xray_metadata(FOLDER)
    with suppress(ModelpadError):
        load_xray(FOLDER, on_unreadable="skip")
    rows = list(read_metadata(path))
    views = tuple({row["view"] for row in rows})
    for number, row in enumerate(select_rows(rows, XrayOptions(views=views)).rows, start=1):
        with suppress(ModelpadError):
            inside = locate_picture(FOLDER, row, number)
            assert inside.is_relative_to(FOLDER), inside
            assert ".." not in inside.parts, inside
