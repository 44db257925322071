"""TensorFlow SavedModels and `.tflite` files, converted by tf2onnx."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from modelpad.convert.archives import unreadable
from modelpad.convert.graph import load_onnx, name_ends
from modelpad.convert.source import Arrays, ImportRequest, TensorSpec
from modelpad.errors import ConversionFailed, MissingExtra, NotTrusted, first_line

OPSET = 18
DEFAULT_SIGNATURE = "serving_default"
# Operations that run Python, or touch files, the network or other programs.
RUNS_CODE = {
    "PyFunc",
    "PyFuncStateless",
    "EagerPyFunc",
    "ReadFile",
    "WriteFile",
    "MatchingFiles",
    "Save",
    "SaveV2",
    "SaveSlices",
    "MergeV2Checkpoints",
    "DeleteFile",
    "FixedLengthRecordReader",
    "TextLineReader",
    "WholeFileReader",
    "TFRecordReader",
    "TFRecordDataset",
    "TextLineDataset",
    "DebugIdentity",
    "DebugIdentityV2",
    "PrintV2",
    "XlaLaunch",
    "RemoteCall",
    "GenerateVocabRemapping",
}
# Every SavedModel saves and restores its own variables by these, in functions that only do that.
OWN_SAVING = {"SaveV2", "MergeV2Checkpoints"}


def load_tensorflow() -> Any:
    """TensorFlow, silent. Raises `MissingExtra`."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import tensorflow
    except ImportError as error:
        raise MissingExtra("tensorflow", extra="tensorflow") from error
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    return tensorflow


def open_tensorflow(path: Path, request: ImportRequest) -> SavedModelSource | LiteSource:
    """The SavedModel folder or `.tflite` file at `path`.

    Raises:
        NotTrusted: it holds operations that run Python or touch files, and `trust` is not set.
        ConversionFailed: it cannot be read, or has no signature.
    """
    if path.is_dir():
        if not request.trust:
            load_tensorflow()
            check_operations(path)
        return SavedModelSource(path)
    return LiteSource(path)


def check_operations(path: Path) -> None:
    """Raises `NotTrusted`, naming the operations of a SavedModel that reach out of it."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString((path / "saved_model.pb").read_bytes())
    except Exception as error:
        raise unreadable(path, f"saved_model.pb is damaged ({error})") from error
    found: set[str] = set()
    for graph in saved.meta_graphs:
        nodes = {node.op for node in graph.graph_def.node}
        for function in graph.graph_def.library.function:
            inner = {node.op for node in function.node_def}
            saves = function.signature.name.startswith("__inference__traced_save")
            nodes |= inner - OWN_SAVING if saves else inner
        saver = bool(graph.saver_def.save_tensor_name)
        found |= (nodes & RUNS_CODE) - (OWN_SAVING if saver else set())
    if found:
        raise NotTrusted(
            f"{path.name} holds operations that run code or touch files:"
            f" {', '.join(sorted(found))}.",
            hint="If you made it or trust who did, import it with --trust.",
            found=sorted(found),
        )


class SavedModelSource:
    """A signature of a SavedModel: `serving_default`, else the only one there is."""

    framework = "tensorflow"
    classes: tuple[str, ...] = ()
    scales_itself = False

    def __init__(self, path: Path) -> None:
        tensorflow = load_tensorflow()
        self.path = path
        try:
            with _quiet():
                self.model = tensorflow.saved_model.load(str(path))
        except Exception as error:
            raise unreadable(path, first_line(error, 300)) from error
        signatures = dict(getattr(self.model, "signatures", {}))
        names = [name for name in signatures if not name.startswith("__saved_model")]
        if not names:
            raise ConversionFailed(
                f"{path.name} has no signatures.",
                hint="Save it with tf.saved_model.save(model, folder, signatures=...).",
            )
        self.signature = DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in names else sorted(names)[0]
        self.function = signatures[self.signature]
        taken = self.function.structured_input_signature[1]
        self.inputs = tuple(_describe(name, taken[name]) for name in sorted(taken))
        given = self.function.structured_outputs
        self.outputs = tuple(_describe(name, given[name]) for name in sorted(given))
        self.facts: Mapping[str, Any] = {
            "model": "SavedModel",
            "signature": self.signature,
            "tensorflow": tensorflow.__version__,
        }

    def run(self, batch: Arrays) -> Arrays:
        """The signature's own answers."""
        tensorflow = load_tensorflow()
        answers = self.function(
            **{name: tensorflow.constant(array) for name, array in batch.items()}
        )
        return {name: answers[name].numpy() for name in (spec.name for spec in self.outputs)}

    def export(self) -> Any:
        """The graph by tf2onnx."""
        arguments = ["--saved-model", str(self.path), "--signature_def", self.signature]
        return name_ends(*_sort_ends(run_tf2onnx(arguments), self.inputs, self.outputs))

    def files(self) -> Mapping[str, bytes | Path]:
        """None."""
        return {}


class LiteSource:
    """A `.tflite` model."""

    framework = "tflite"
    classes: tuple[str, ...] = ()
    scales_itself = False

    def __init__(self, path: Path) -> None:
        """Raises `NotTrusted` for custom operators, `ConversionFailed` when it cannot be read."""
        tensorflow = load_tensorflow()
        self.path = path
        try:
            with _quiet():
                self.interpreter = tensorflow.lite.Interpreter(model_path=str(path))
                self.interpreter.allocate_tensors()
        except Exception as error:
            reason = first_line(error, 300)
            if "custom op" in str(error).lower() or "flex" in str(error).lower():
                raise NotTrusted(
                    f"{path.name} uses custom operators: {reason[:200]}",
                    hint="Convert it with TensorFlow Lite's built-in operators alone.",
                    found=["custom operators"],
                ) from error
            raise unreadable(path, reason) from error
        self.inputs = tuple(map(_describe_lite, self.interpreter.get_input_details()))
        self.outputs = tuple(map(_describe_lite, self.interpreter.get_output_details()))
        self.facts: Mapping[str, Any] = {
            "model": "TensorFlow Lite",
            "tensorflow": tensorflow.__version__,
        }

    def run(self, batch: Arrays) -> Arrays:
        """The interpreter's own answers."""
        details = self.interpreter.get_input_details()
        for detail, spec in zip(details, self.inputs, strict=True):
            self.interpreter.resize_tensor_input(detail["index"], batch[spec.name].shape)
        self.interpreter.allocate_tensors()
        for detail, spec in zip(details, self.inputs, strict=True):
            self.interpreter.set_tensor(detail["index"], batch[spec.name])
        self.interpreter.invoke()
        return {
            spec.name: self.interpreter.get_tensor(detail["index"]).copy()
            for detail, spec in zip(
                self.interpreter.get_output_details(), self.outputs, strict=True
            )
        }

    def export(self) -> Any:
        """The graph by tf2onnx."""
        return name_ends(run_tf2onnx(["--tflite", str(self.path)]), self.inputs, self.outputs)

    def files(self) -> Mapping[str, bytes | Path]:
        """None."""
        return {}


def run_tf2onnx(arguments: list[str]) -> Any:
    """What `python -m tf2onnx.convert` makes of `arguments`.

    Raises:
        MissingExtra: tf2onnx is not installed.
        ConversionFailed: it cannot convert the model, with its reason.
    """
    onnx = load_onnx()
    try:
        import tf2onnx  # noqa: F401
    except ImportError as error:
        raise MissingExtra("tf2onnx", extra="tensorflow") from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        command = [sys.executable, "-m", "tf2onnx.convert", *arguments]
        command += ["--opset", str(OPSET), "--output", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not path.exists():
            lines = [line for line in done.stderr.splitlines() if "rror" in line]
            raise ConversionFailed(
                f"tf2onnx cannot convert it: {(lines or ['no reason given'])[-1][:300]}",
                hint="An operation without a counterpart in ONNX must be taken out.",
            )
        return onnx.load(path)


def _sort_ends(model: Any, inputs: Any, outputs: Any) -> tuple[Any, Any, Any]:
    """The model with its ends in the order of the specs, by the names that tf2onnx keeps."""
    for values, specs in ((model.graph.input, inputs), (model.graph.output, outputs)):
        found = {value.name.partition(":")[0]: value for value in values}
        ordered = [found.get(spec.name) for spec in specs]
        if all(value is not None for value in ordered) and len(found) == len(values):
            copies = [
                type(value).FromString(value.SerializeToString()) for value in ordered if value
            ]
            del values[:]
            values.extend(copies)
    return model, inputs, outputs


def _describe(name: str, spec: Any) -> TensorSpec:
    sides = tuple(spec.shape.as_list()) if spec.shape.rank is not None else (None,)
    return TensorSpec(name, spec.dtype.name, sides)


def _describe_lite(detail: Mapping[str, Any]) -> TensorSpec:
    sides = tuple(int(side) for side in detail["shape"])
    name = str(detail["name"]).removeprefix("serving_default_").partition(":")[0]
    return TensorSpec(name, str(np.dtype(detail["dtype"])), (None, *sides[1:]))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
