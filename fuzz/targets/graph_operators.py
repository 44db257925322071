"""The operators of an ONNX graph, which decide whether it may run on the event loop."""

from __future__ import annotations

from fuzz.files import make_folder
from modelpad.engine.operators import is_bounded

DECODERS = ("modelpad.engine.operators",)
FILE = make_folder() / "model.onnx"


def fuzz(data: bytes) -> None:
    """Expects a yes or no, whatever the bytes are."""
    FILE.write_bytes(data)
    assert is_bounded(FILE, {"input"}) in (True, False)
