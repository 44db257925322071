"""A file that is no model that modelpad can import is refused with the true reason."""

from __future__ import annotations

import gzip
import io
import pickle
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelpad.convert import ImportRequest, open_source
from modelpad.errors import ConversionFailed, ModelpadError, NotTrusted, UsageError

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345678\n"
PB_GRAPH = b"\n\x1a\n\x01x\x12\x0bPlaceholder"


def refusal(path: Path, **options: Any) -> ModelpadError:
    with pytest.raises(ModelpadError) as caught:
        open_source(path, ImportRequest(**options))
    return caught.value


def gzipped() -> bytes:
    return gzip.compress(b"RDX3\nX\n", mtime=0)


@pytest.mark.parametrize(
    ("name", "body", "message", "hint"),
    [
        (
            "net.onnx",
            LFS,
            "net.onnx is a Git LFS pointer to a file of 12,345,678 bytes, which was not"
            " downloaded.",
            "Download it: git lfs pull",
        ),
        (
            "net.pt",
            b"\n<!DOCTYPE html><html>404",
            "net.pt is a web page, not a model: the download failed.",
            "Download the file itself, not the page that shows it.",
        ),
        (
            "net.keras",
            b"PK\x03\x04" + bytes(100),
            "net.keras is incomplete: the end of the zip file is missing or damaged, after 104"
            " bytes.",
            "Copy or download it again.",
        ),
        ("net.onnx", b"", "net.onnx is empty.", "Save or download it again."),
        (
            "model.ckpt-100.index",
            b"\x00",
            "model.ckpt-100.index is part of a TensorFlow checkpoint, which holds weights without a"
            " model.",
            "Load it where the model was trained, and save a SavedModel: tf.saved_model.save",
        ),
        (
            "model.ckpt.data-00000-of-00001",
            b"\x00",
            "model.ckpt.data-00000-of-00001 is part of a TensorFlow checkpoint, which holds weights"
            " without a model.",
            "Load it where",
        ),
        (
            "frozen.pb",
            PB_GRAPH,
            "frozen.pb is a frozen TensorFlow graph, which does not say what its inputs and outputs"
            " are.",
            "Convert it: python -m tf2onnx.convert --graphdef FILE",
        ),
        (
            "saved_model.pb",
            b"\x08\x01",
            "saved_model.pb is the graph of a SavedModel, whose weights are next to it.",
            "Give the folder that contains it.",
        ),
        (
            "net.mlmodel",
            b"\x08\x04",
            "net.mlmodel is a Core ML model, which is not supported.",
            "Import the model that it was made from, or export that to ONNX.",
        ),
        (
            "llama.bin",
            b"GGUF\x03",
            "llama.bin is a GGUF file, a language model for llama.cpp, which is not supported.",
            "Serve it with llama.cpp.",
        ),
        (
            "params.msgpack",
            b"\x82",
            "params.msgpack is a JAX checkpoint, which holds weights without a model.",
            "Export the model where it was trained",
        ),
        ("forest.rds", gzipped(), "forest.rds is an R object, which is not supported.", "xgb.save"),
        (
            "tree.xml",
            b'<?xml version="1.0"?>\n<PMML version="4.4">',
            "tree.xml is a PMML document, which is not supported.",
            "Import the model that it was made from",
        ),
        (
            "net.xml",
            b'<?xml version="1.0"?>\n<net name="n">',
            "net.xml is an OpenVINO model, which is not supported.",
            "Import the model that it was made from.",
        ),
        ("net.onnx.gz", gzipped(), "net.onnx.gz is compressed.", "Extract it"),
        ("net.plan", b"ftrt", "net.plan is a TensorRT engine", "the ONNX file"),
        ("net.dat", b"?", "net.dat has an unknown format.", "Supported: Keras"),
        (
            "net.json",
            b'{"class_name": ',
            "net.json is not JSON:",
            "Check that the file is complete",
        ),
    ],
)
def test_a_file_that_is_no_model(
    tmp_path: Path, name: str, body: bytes, message: str, hint: str
) -> None:
    (tmp_path / name).write_bytes(body)
    error = refusal(tmp_path / name)
    assert error.message.startswith(message)
    assert hint in error.hint


def test_a_truncated_file_is_incomplete_and_not_unknown(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.Linear(4, 2).state_dict(), tmp_path / "whole.pt")
    (tmp_path / "net.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:900])
    assert "net.pt is incomplete" in refusal(tmp_path / "net.pt").message


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["_METADATA", "manifest.ocdbt"], "is a JAX checkpoint (Orbax), which holds weights"),
        (["checkpoint", "model.index"], "is a TensorFlow checkpoint, which holds weights without"),
    ],
)
def test_a_folder_that_is_no_model(tmp_path: Path, files: list[str], message: str) -> None:
    for name in files:
        (tmp_path / name).write_text("{}")
    assert message in refusal(tmp_path).message


def test_a_file_without_permission_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"1")

    def deny(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)
    error = refusal(path)
    assert error.message == f"{path} cannot be read: Permission denied."
    assert error.hint == "Check its permissions."


@pytest.mark.parametrize(
    "package", [pytest.param("h5py", marks=(pytest.mark.slow, pytest.mark.long)), "torch"]
)
def test_the_package_that_is_missing_is_the_one_named(tmp_path: Path, package: str) -> None:
    (tmp_path / "net.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    code = (
        "import sys; sys.modules[sys.argv[1]] = None\n"
        "from pathlib import Path; from modelpad.convert import ImportRequest, open_source\n"
        "try: open_source(Path(sys.argv[2]), ImportRequest())\n"
        "except Exception as error: print(error)"
    )
    arguments = [sys.executable, "-c", code, package, str(tmp_path / "net.h5")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{package} is not installed."


# Old and other files of PyTorch


@pytest.fixture
def save_weights(tmp_path: Path) -> Callable[..., Path]:
    """Saves what PyTorch before 1.6 would write."""
    torch = pytest.importorskip("torch")

    def save(value: object, name: str = "old.pt") -> Path:
        torch.save(value, tmp_path / name, _use_new_zipfile_serialization=False)
        return tmp_path / name

    return save


def test_weights_of_an_old_pytorch_are_loaded(
    save_weights: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    (tmp_path / "old_nets.py").write_text("import torch\ndef make(): return torch.nn.Linear(4, 2)")
    monkeypatch.syspath_prepend(tmp_path)
    linear = torch.nn.Linear(4, 2)
    path = save_weights(linear.state_dict())
    assert "contains weights without their module" in refusal(path).message
    request = ImportRequest(inputs=("tensor:float32[4]",), factory="old_nets:make")
    source = open_source(path, request)
    row = torch.ones(1, 4)
    with torch.no_grad():
        expected = linear(row).numpy()
    assert source.run({"input": row.numpy()})["output"] == pytest.approx(expected)


def test_an_old_pickled_module_needs_trust(save_weights: Any) -> None:
    import torch

    error = refusal(save_weights(torch.nn.Linear(4, 2)))
    assert isinstance(error, NotTrusted)
    assert "is a pickle of more than tensors" in error.message


def test_a_very_old_file_says_what_to_do(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    with tarfile.open(tmp_path / "old.pt", "w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            body = pickle.dumps({})
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            archive.addfile(entry, io.BytesIO(body))
    error = refusal(tmp_path / "old.pt")
    assert error.message == "old.pt was saved by PyTorch 0.1, as a tar file."


def test_a_lightning_checkpoint_needs_its_module(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    weights = torch.nn.Linear(4, 2).state_dict()
    torch.save(
        {"pytorch-lightning_version": "2.1.0", "state_dict": weights, "hyper_parameters": {}},
        tmp_path / "last.ckpt",
    )
    error = refusal(tmp_path / "last.ckpt")
    assert isinstance(error, UsageError)
    assert error.message.startswith("last.ckpt is a checkpoint of PyTorch Lightning: weights")
    assert "--module package.module:factory" in error.hint


def test_weights_alone_of_keras_ask_for_their_architecture(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    pytest.importorskip("keras")
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file.create_dataset("dense/kernel", data=[1.0])
    error = refusal(tmp_path / "net.h5")
    assert error.message == "net.h5 contains weights without their model."
    assert "modelpad import model.json net.h5" in error.hint


def test_a_zip_file_of_something_else_is_unknown(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    error = refusal(tmp_path / "net.zip")
    assert isinstance(error, ConversionFailed)
    assert error.message == "net.zip has an unknown format."
