"""IDX files of pictures and labels, with and without gzip."""

from __future__ import annotations

from contextlib import suppress

from fuzz.files import make_folder
from modelpad.datasets import mnist
from modelpad.datasets.idx import encode_idx, parse_idx, read_content
from modelpad.errors import ModelpadError

DECODERS = ("modelpad.datasets.idx", "modelpad.datasets.mnist")
FOLDER = make_folder()
MAX_CONTENT_BYTES = 1 << 20


def fuzz(data: bytes) -> None:
    """Reads the file on its own, and as each file of a data set."""
    path = FOLDER / mnist.FILE_NAMES[0]
    for name in mnist.FILE_NAMES:
        (FOLDER / name).write_bytes(data)
    content = read_content(path, limit_bytes=MAX_CONTENT_BYTES)
    with suppress(ModelpadError):
        mnist.load_idx_folder(FOLDER)
    array = parse_idx(content, path)
    assert encode_idx(array) == content
