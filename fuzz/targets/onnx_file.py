"""An ONNX file: operator domains and external data."""

from __future__ import annotations

from pathlib import Path

from google.protobuf.message import DecodeError
from onnx import ModelProto

from fuzz.files import make_folder
from modelpad.convert.onnx import all_tensors, check_domains, check_external, external_files

DECODERS = ("modelpad.convert.onnx", "modelpad.bundle.external_data", "modelpad.bundle.protobuf")
ROOT = make_folder()
FOLDER = ROOT / "model"
FILE = FOLDER / "model.onnx"
FOLDER.mkdir()
for path in (FOLDER / "weights", ROOT / "outside"):
    path.write_bytes(b"0123456789abcdef")


def is_inside(path: Path) -> bool:
    """Whether a path is inside the model's folder."""
    return path.resolve().is_relative_to(FOLDER.resolve())


def fuzz(data: bytes) -> None:
    """Asserts that no tensor refers to a file outside the folder."""
    FILE.write_bytes(data)
    assert all(map(is_inside, external_files(FILE)))
    try:
        model = ModelProto.FromString(data)
    except DecodeError:
        return
    check_domains(model, FILE.name)
    check_external(model, FILE)
    entries = [entry for tensor in all_tensors(model) for entry in tensor.external_data]
    assert all(is_inside(FOLDER / entry.value) for entry in entries if entry.key == "location")
