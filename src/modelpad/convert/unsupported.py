"""Files and folders that hold no supported model: what each is, and what to do about it.

Only names and first bytes are read. `detect.py` knows the formats that are supported.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modelpad.errors import ConversionFailed

LFS_SIZE = re.compile(rb"^size (\d{1,18})$", re.MULTILINE)
CHECKPOINT_DATA = re.compile(r".*\.data-\d+-of-\d+")


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A format: what a file in it is, what to do with it, and how it is recognised."""

    what: str
    hint: str
    matches: Callable[[Path, bytes], bool]

    def error(self, path: Path) -> ConversionFailed:
        """The error for the file or folder at `path`."""
        return ConversionFailed(f"{path.name} is {self.what}.", hint=self.hint)


def starts_with(*starts: bytes) -> Callable[[Path, bytes], bool]:
    """Matches the first bytes of a file, in any case, after white space."""
    return lambda path, head: head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(starts)


def ends_with(*suffixes: str) -> Callable[[Path, bytes], bool]:
    """Matches the end of a file's name."""
    return lambda path, head: path.name.lower().endswith(suffixes)


def contains(word: bytes) -> Callable[[Path, bytes], bool]:
    """Matches a word in the first bytes of an XML file."""
    return lambda path, head: head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") and word in head


def has_files(*names: str) -> Callable[[Path, bytes], bool]:
    """Matches a folder in which one of these files exists."""
    return lambda path, head: any((path / name).exists() for name in names)


def is_checkpoint(path: Path) -> bool:
    """Whether a file is part of a TensorFlow checkpoint, by its name and those next to it."""
    if CHECKPOINT_DATA.fullmatch(path.name):
        return True
    pattern = f"{glob.escape(path.stem)}.data-*-of-*"
    is_part = path.suffix in (".index", ".meta")
    return is_part and ("ckpt" in path.name or any(path.parent.glob(pattern)))


EXPORT_ONNX = "Import the model that it was made from, or export that to ONNX."
TF_CHECKPOINT = "Load it where the model was trained, and save a SavedModel: tf.saved_model.save"
TF_FREEZE = (
    "Convert it: python -m tf2onnx.convert --graphdef FILE --inputs INPUT:0 --outputs OUTPUT:0"
    " --output model.onnx"
)
FILES = (
    Unsupported(
        "a web page, not a model: the download failed",
        "Download the file itself, not the page that shows it.",
        starts_with(b"<!doctype html", b"<html"),
    ),
    Unsupported(
        "a PMML document, which is not supported",
        EXPORT_ONNX,
        contains(b"<PMML"),
    ),
    Unsupported(
        "an OpenVINO model, which is not supported",
        "Import the model that it was made from.",
        contains(b"<net "),
    ),
    Unsupported(
        "a GGUF file, a language model for llama.cpp, which is not supported",
        "Serve it with llama.cpp.",
        starts_with(b"gguf"),
    ),
    Unsupported(
        "a Core ML model, which is not supported",
        EXPORT_ONNX,
        ends_with(".mlmodel"),
    ),
    Unsupported(
        "part of a TensorFlow checkpoint, which holds weights without a model",
        TF_CHECKPOINT,
        lambda path, head: is_checkpoint(path),
    ),
    Unsupported(
        "the graph of a SavedModel, whose weights are next to it",
        "Give the folder that contains it.",
        lambda path, head: path.name in ("saved_model.pb", "saved_model.pbtxt"),
    ),
    Unsupported(
        "a frozen TensorFlow graph, which does not say what its inputs and outputs are",
        TF_FREEZE,
        lambda path, head: (
            path.suffix in (".pbtxt", ".graphdef") or (path.suffix == ".pb" and head[:1] == b"\n")
        ),
    ),
    Unsupported(
        "a TensorRT engine, which runs on one kind of GPU only",
        "Import the ONNX file that it was built from.",
        ends_with(".plan", ".engine", ".trt"),
    ),
    Unsupported(
        "an R object, which is not supported",
        "Export the model in R: xgb.save and lgb.save write files that can be imported.",
        ends_with(".rds", ".rdata", ".rda"),
    ),
    Unsupported(
        "a JAX checkpoint, which holds weights without a model",
        "Export the model where it was trained: jax2tf to a SavedModel, or ONNX.",
        ends_with(".msgpack", ".flax", ".orbax"),
    ),
    Unsupported(
        "a TorchServe archive, which is not supported",
        "Extract it (it is a zip file), and import the model in it.",
        ends_with(".mar"),
    ),
    Unsupported(
        "a NumPy file, which holds arrays and no model",
        "Import the model whose weights it holds.",
        ends_with(".npy", ".npz"),
    ),
    Unsupported(
        "compressed",
        "Extract it, and import the model in it.",
        starts_with(
            b"\x1f\x8b", b"bzh", b"\xfd7zxz\x00", b"7z\xbc\xaf\x27\x1c", b"\x28\xb5\x2f\xfd"
        ),
    ),
)
FOLDERS = (
    Unsupported(
        "a JAX checkpoint (Orbax), which holds weights without a model",
        "Export the model where it was trained: jax2tf to a SavedModel, or ONNX.",
        has_files("_CHECKPOINT_METADATA", "manifest.ocdbt", "_METADATA"),
    ),
    Unsupported(
        "a Core ML model, which is not supported",
        "Import the model that it was made from.",
        lambda path, head: path.suffix == ".mlpackage",
    ),
    Unsupported(
        "a TensorFlow checkpoint, which holds weights without a model",
        TF_CHECKPOINT,
        lambda path, head: (path / "checkpoint").is_file() and any(path.glob("*.index")),
    ),
)


def explain_file(path: Path, head: bytes) -> ConversionFailed | None:
    """The error for a file that is known not to be a supported model, by its first bytes."""
    if head.startswith(b"version https://git-lfs"):
        size = LFS_SIZE.search(head)
        real = f" of {int(size[1]):,} bytes" if size else ""
        return ConversionFailed(
            f"{path.name} is a Git LFS pointer to a file{real}, which was not downloaded.",
            hint="Download it: git lfs pull",
        )
    return next((each.error(path) for each in FILES if each.matches(path, head)), None)


def explain_folder(path: Path) -> ConversionFailed | None:
    """The error for a folder that is known not to be a supported model."""
    return next((each.error(path) for each in FOLDERS if each.matches(path, b"")), None)
