"""TensorFlow SavedModels and `.tflite` files, exported by tf2onnx."""

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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from modelpad.convert.archives import external_reference, unreadable
from modelpad.convert.graph import load_onnx, rename_io
from modelpad.convert.source import ImportRequest, TensorSpec
from modelpad.errors import ConversionFailed, MissingExtra, NotTrusted, first_line
from modelpad.fields.arrays import Arrays
from modelpad.foreign_json import Json

if TYPE_CHECKING:
    import tensorflow
    from onnx import ModelProto

OPSET = 18
DEFAULT_SIGNATURE = "serving_default"
# Operations supported by tf2onnx that read data from elsewhere.
READS_DATA = {"IteratorV2", "IteratorGetNext", "FIFOQueueV2"}
# Operations in every SavedModel, in addition to those that tf2onnx converts.
STRUCTURE = {
    "AssignVariableOp", "ConcatOffset", "Const", "CudnnRNNV3", "DisableCopyOnRead",
    "HashTableV2", "Identity", "IdentityN", "LookupTableFindV2", "LookupTableImportV2",
    "LookupTableSizeV2", "NoOp", "PartitionedCall", "Placeholder", "ReadVariableOp",
    "ResourceGather", "RestoreV2", "ShardedFilename", "StatefulPartitionedCall",
    "StaticRegexFullMatch", "VarHandleOp", "VarIsInitializedOp",
}  # fmt: skip
GRADIENTS = re.compile(r"\w+(Grad|Backprop(Input|Filter)?)(V\d)?")
# Every SavedModel saves its variables with these, in functions that inference does not need. They
# write to any path, so the checked copy replaces them with no-ops.
SAVE_OPERATIONS = {"SaveV2", "MergeV2Checkpoints"}


def load_tensorflow() -> ModuleType:
    """The `tensorflow` package, with its logging disabled. Raises `MissingExtra`."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import tensorflow
    except ImportError as error:
        raise MissingExtra("tensorflow", extra="tensorflow") from error
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    module: ModuleType = tensorflow
    return module


def open_tensorflow(path: Path, request: ImportRequest) -> SavedModelSource | LiteSource:
    """The SavedModel folder or `.tflite` file at `path`.

    Raises:
        NotTrusted: it contains operations that do more than compute, or links, and `trust` is not
            set.
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
    """Checks the SavedModel at `path` and copies it to `target`, without its ability to save.

    Raises:
        NotTrusted: it contains operations that are neither supported by tf2onnx nor part of every
            SavedModel. They may run Python, access files or use the network.
        ConversionFailed: it is damaged.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    for file in path.rglob("*"):
        if file.is_symlink():
            raise external_reference(path, f"the link {file.relative_to(path)}")
    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString((path / "saved_model.pb").read_bytes())
    except Exception as error:
        raise unreadable(path, f"saved_model.pb is damaged ({error})") from error
    nodes = [node for graph in saved.meta_graphs for node in graph.graph_def.node]
    for graph in saved.meta_graphs:
        for function in graph.graph_def.library.function:
            nodes += function.node_def
    allowed = list_operations() | SAVE_OPERATIONS
    names = {node.op for node in nodes}
    found = sorted(name for name in names - allowed if not GRADIENTS.fullmatch(name))
    if found:
        raise NotTrusted(
            f"{path.name} contains operations that may do more than compute: {', '.join(found)}.",
            hint="If you made it or trust its author, import it with --trust.",
            found=found,
        )
    for node in nodes:
        if node.op in SAVE_OPERATIONS:
            control_inputs = [name for name in node.input if name.startswith("^")]
            node.op = "NoOp"
            node.attr.clear()
            node.ClearField("input")
            node.input.extend(control_inputs)
    target.mkdir()
    (target / "saved_model.pb").write_bytes(saved.SerializeToString())
    if (path / "variables").is_dir():
        shutil.copytree(path / "variables", target / "variables")


def list_operations() -> set[str]:
    """The operations that only compute. Raises `MissingExtra` without tf2onnx."""
    try:
        with _quiet():
            from tf2onnx import tfonnx  # noqa: F401  (it registers the operations)
            from tf2onnx.handler import tf_op
    except ImportError as error:
        raise MissingExtra("tf2onnx", extra="tensorflow") from error
    names = {name for opsets in tf_op.get_opsets().values() for opset in opsets for name in opset}
    return {name for name in names - READS_DATA if not name.startswith("Queue")} | STRUCTURE


class SavedModelSource:
    """A signature of a SavedModel: `serving_default`, else the first by name."""

    framework = "tensorflow"
    classes: tuple[str, ...] = ()

    def __init__(self, path: Path, folder: tempfile.TemporaryDirectory[str] | None = None) -> None:
        """`folder` is the temporary folder that contains `path`, if it is a copy."""
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
        inputs = self.function.structured_input_signature[1]
        self.inputs = tuple(_describe(name, inputs[name]) for name in sorted(inputs))
        outputs = self.function.structured_outputs
        self.outputs = tuple(_describe(name, outputs[name]) for name in sorted(outputs))
        self.facts: Mapping[str, Json] = {
            "model": "SavedModel",
            "signature": self.signature,
            "tensorflow": tensorflow.__version__,
        }

    def run(self, batch: Arrays) -> Arrays:
        """The signature's outputs."""
        tensorflow = load_tensorflow()
        outputs = self.function(
            **{name: tensorflow.constant(array) for name, array in batch.items()}
        )
        return {spec.name: outputs[spec.name].numpy() for spec in self.outputs}

    def export(self) -> ModelProto:
        """The graph, exported by tf2onnx."""
        arguments = ["--saved-model", str(self.path), "--signature_def", self.signature]
        model = run_tf2onnx(arguments)
        _sort_io(model, self.inputs, self.outputs)
        return rename_io(model, self.inputs, self.outputs)

    def hard_samples(self) -> Sequence[Arrays]:
        """None."""
        return ()

    def files(self) -> Mapping[str, bytes | Path]:
        """No files."""
        return {}


class LiteTensor(TypedDict):
    """An input or output, as TensorFlow Lite describes it."""

    name: str
    index: int
    shape: Sequence[int]
    dtype: type[np.generic]


class LiteSource:
    """A `.tflite` model."""

    framework = "tflite"
    classes: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        """Raises `NotTrusted` for custom operators, `ConversionFailed` if it cannot be read."""
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
                    hint="Convert it with TensorFlow Lite's built-in operators only.",
                    found=["custom operators"],
                ) from error
            raise unreadable(path, reason) from error
        self.inputs = tuple(map(_describe_lite, self.interpreter.get_input_details()))
        self.outputs = tuple(map(_describe_lite, self.interpreter.get_output_details()))
        self.facts: Mapping[str, Json] = {
            "model": "TensorFlow Lite",
            "tensorflow": tensorflow.__version__,
        }

    def run(self, batch: Arrays) -> Arrays:
        """The interpreter's outputs."""
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

    def export(self) -> ModelProto:
        """The graph, exported by tf2onnx."""
        return rename_io(run_tf2onnx(["--tflite", str(self.path)]), self.inputs, self.outputs)

    def hard_samples(self) -> Sequence[Arrays]:
        """None."""
        return ()

    def files(self) -> Mapping[str, bytes | Path]:
        """No files."""
        return {}


def run_tf2onnx(arguments: list[str]) -> ModelProto:
    """Runs `python -m tf2onnx.convert` with `arguments`.

    Raises:
        MissingExtra: tf2onnx is not installed.
        ConversionFailed: it cannot convert the model. The message has its reason.
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
                f"tf2onnx cannot convert the model: {(lines or ['no reason given'])[-1][:300]}",
                hint="Remove operations that have no equivalent in ONNX.",
            )
        model: ModelProto = onnx.load(path)
        return model


def _sort_io(
    model: ModelProto, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> None:
    """Sorts the graph's inputs and outputs like the specs, by the names that tf2onnx keeps."""
    for values, specs in ((model.graph.input, inputs), (model.graph.output, outputs)):
        found = {value.name.partition(":")[0]: value for value in values}
        ordered = [found.get(spec.name) for spec in specs]
        if all(value is not None for value in ordered) and len(found) == len(values):
            copies = [
                type(value).FromString(value.SerializeToString()) for value in ordered if value
            ]
            del values[:]
            values.extend(copies)


def _describe(name: str, spec: tensorflow.TensorSpec) -> TensorSpec:
    sides = tuple(spec.shape.as_list()) if spec.shape.rank is not None else (None,)
    return TensorSpec(name, spec.dtype.name, sides)


def _describe_lite(detail: LiteTensor) -> TensorSpec:
    sides = tuple(int(side) for side in detail["shape"])
    name = detail["name"].removeprefix("serving_default_").partition(":")[0]
    return TensorSpec(name, str(np.dtype(detail["dtype"])), (None, *sides[1:]))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
