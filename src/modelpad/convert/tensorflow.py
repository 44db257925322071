"""TensorFlow SavedModels and `.tflite` files, converted by tf2onnx."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from modelpad.convert.archives import outside, unreadable
from modelpad.convert.graph import load_onnx, name_ends
from modelpad.convert.source import Arrays, ImportRequest, TensorSpec
from modelpad.errors import ConversionFailed, MissingExtra, NotTrusted, first_line

OPSET = 18
DEFAULT_SIGNATURE = "serving_default"
# Operations that tf2onnx knows, and that wait for data from elsewhere.
WAITS = {"IteratorV2", "IteratorGetNext", "FIFOQueueV2"}
# What a SavedModel is made of besides the operations that tf2onnx converts.
STRUCTURE = {
    "AssignVariableOp", "ConcatOffset", "Const", "CudnnRNNV3", "DisableCopyOnRead",
    "HashTableV2", "Identity", "IdentityN", "LookupTableFindV2", "LookupTableImportV2",
    "LookupTableSizeV2", "NoOp", "PartitionedCall", "Placeholder", "ReadVariableOp",
    "ResourceGather", "RestoreV2", "ShardedFilename", "StatefulPartitionedCall",
    "StaticRegexFullMatch", "VarHandleOp", "VarIsInitializedOp",
}  # fmt: skip
GRADIENTS = re.compile(r"\w+(Grad|Backprop(Input|Filter)?)(V\d)?")
# Every SavedModel saves its own variables by these, in functions that nothing else needs. They
# write to whatever path they are given, so a checked copy has them do nothing.
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
        NotTrusted: it holds operations that do more than compute, or links, and `trust` is not set.
        ConversionFailed: it cannot be read, or has no signature.
    """
    if not path.is_dir():
        return LiteSource(path)
    if request.trust:
        return SavedModelSource(path)
    load_tensorflow()
    folder = tempfile.TemporaryDirectory(prefix="modelpad-")
    checked = Path(folder.name) / path.resolve().name
    copy_checked(path, checked)
    return SavedModelSource(checked, folder)


def copy_checked(path: Path, target: Path) -> None:
    """Makes `target` a SavedModel as `path`, checked, that saves nothing.

    Raises:
        NotTrusted: it names operations that neither tf2onnx converts nor every SavedModel has: they
            may run Python, touch files or use the network.
        ConversionFailed: it is damaged.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    for each in path.rglob("*"):
        if each.is_symlink():
            raise outside(path, f"the link {each.relative_to(path)}")
    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString((path / "saved_model.pb").read_bytes())
    except Exception as error:
        raise unreadable(path, f"saved_model.pb is damaged ({error})") from error
    nodes = [node for graph in saved.meta_graphs for node in graph.graph_def.node]
    for graph in saved.meta_graphs:
        for function in graph.graph_def.library.function:
            nodes += function.node_def
    allowed = list_operations() | OWN_SAVING
    names = {node.op for node in nodes}
    found = sorted(name for name in names - allowed if not GRADIENTS.fullmatch(name))
    if found:
        raise NotTrusted(
            f"{path.name} holds operations that may do more than compute: {', '.join(found)}.",
            hint="If you made it or trust who did, import it with --trust.",
            found=found,
        )
    for node in nodes:
        if node.op in OWN_SAVING:
            waits = [name for name in node.input if name.startswith("^")]
            node.op = "NoOp"
            node.attr.clear()
            node.ClearField("input")
            node.input.extend(waits)
    target.mkdir()
    (target / "saved_model.pb").write_bytes(saved.SerializeToString())
    if (path / "variables").is_dir():
        shutil.copytree(path / "variables", target / "variables")


def list_operations() -> set[str]:
    """The operations that compute. Raises `MissingExtra` without tf2onnx."""
    try:
        with _quiet():
            from tf2onnx import tfonnx  # noqa: F401  (it registers the operations)
            from tf2onnx.handler import tf_op
    except ImportError as error:
        raise MissingExtra("tf2onnx", extra="tensorflow") from error
    names = {name for sets in tf_op.get_opsets().values() for each in sets for name in each}
    return {name for name in names - WAITS if not name.startswith("Queue")} | STRUCTURE


class SavedModelSource:
    """A signature of a SavedModel: `serving_default`, else the only one there is."""

    framework = "tensorflow"
    classes: tuple[str, ...] = ()
    scales_itself = False

    def __init__(self, path: Path, folder: tempfile.TemporaryDirectory[str] | None = None) -> None:
        """`folder`, where `path` is a temporary copy, is kept as long as the source."""
        tensorflow = load_tensorflow()
        self.path, self._folder = path, folder
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
