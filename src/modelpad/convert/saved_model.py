"""TensorFlow SavedModels: signatures, the check before loading, and a signature as a source."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modelpad.convert.archives import external_reference, unreadable
from modelpad.convert.saved_functions import digest_signature
from modelpad.convert.signatures import (
    SignatureSpec,
    choose_signature,
    describe_signature,
    run_in_chunks,
)
from modelpad.convert.source import TensorSpec
from modelpad.convert.tensorflow_export import (
    list_convertible,
    load_tensorflow,
    name_io,
    quiet,
    run_tf2onnx,
)
from modelpad.errors import ConversionFailed, NotTrusted, first_line
from modelpad.fields.arrays import Array, Arrays
from modelpad.foreign_json import Json

if TYPE_CHECKING:
    from onnx import ModelProto
    from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef, TensorInfo
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

SERVE = "serve"
# Signatures of TensorFlow's own, such as `__saved_model_init_op`.
INTERNAL = "__saved_model"
DTYPES = {
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("bfloat16", "float16", "float32", "float64", "string"),
}
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
# Operations that only compute, but have no equivalent in ONNX. One signature may use them while
# another does not: estimators have one for serialised examples and one for tensors.
COMPUTES = {
    "AsString", "Assert", "Bincount", "Cholesky", "DecodeBase64", "DecodeBmp", "DecodeCSV",
    "DecodeGif", "DecodeImage", "DecodeJSONExample", "DecodeJpeg",
    "DecodePaddedRaw", "DecodePng", "DecodeRaw", "DenseBincount", "EncodeBase64", "EncodeJpeg",
    "EncodePng", "Fingerprint", "ImageProjectiveTransformV2", "ImageProjectiveTransformV3",
    "MatrixDeterminant", "MatrixInverse", "MatrixSolve",
    "ParseExample", "ParseExampleV2", "ParseSequenceExample", "ParseSequenceExampleV2",
    "ParseSingleExample", "ParseSingleSequenceExample", "Qr", "RaggedGather",
    "RaggedRange", "RaggedTensorToSparse", "Rank", "ReduceJoin", "RegexFullMatch",
    "SelfAdjointEigV2", "StatelessRandomGetKeyCounter", "StatelessRandomNormalV2",
    "StatelessRandomUniformV2", "StringFormat", "StringLength", "StringNGrams", "StringSplit",
    "StringStrip", "StringToHashBucket", "StringToHashBucketStrong", "Substr", "Svd",
    "UnicodeDecode", "UnicodeDecodeWithOffsets", "UnicodeEncode", "UnicodeScript",
    "UnicodeTranscode", "UnsortedSegmentJoin",
}  # fmt: skip
GRADIENTS = re.compile(r"\w+(Grad|Backprop(Input|Filter)?)(V\d)?")
# Every SavedModel saves its variables with these, in functions that inference does not need. They
# write to any path, so the checked copy replaces them with no-ops.
SAVE_OPERATIONS = {"SaveV2", "MergeV2Checkpoints"}


def read_signatures(path: Path) -> dict[str, SignatureSpec]:
    """The signatures of the SavedModel in the folder `path`, by name. Nothing of it is run.

    Raises `ConversionFailed` if it is damaged.
    """
    graph = _choose_graph(_parse(path))
    return {
        name: _read_signature(graph, name)
        for name in sorted(graph.signature_def)
        if not name.startswith(INTERNAL)
    }


def open_saved_model(path: Path, wanted: str | None, *, trust: bool) -> SavedModelSource:
    """The signature `wanted` of the SavedModel in the folder `path`, by default `serving_default`.

    Raises:
        NotTrusted: it contains operations that do more than compute, or links, and `trust` is not
            set.
        ConversionFailed: it cannot be read, or has no signature that can be imported.
        UsageError: there is no such signature, or the user must choose one.
    """
    load_tensorflow()
    folder = None
    if not trust:
        folder = tempfile.TemporaryDirectory(prefix="modelpad-")
        checked = Path(folder.name) / path.resolve().name
        copy_checked(path, checked)
        path = checked
    signatures = read_signatures(path)
    name = choose_signature([*signatures], wanted, path)
    return SavedModelSource(path, name, signatures, folder)


def copy_checked(path: Path, target: Path) -> None:
    """Checks the SavedModel at `path` and copies it to `target`, without its ability to save.

    The copy has only the graph for serving.

    Raises:
        NotTrusted: it contains operations that are neither supported by tf2onnx nor part of every
            SavedModel. They may run Python, access files or use the network.
        ConversionFailed: it is damaged.
    """
    for file in path.rglob("*"):
        if file.is_symlink():
            raise external_reference(path, f"the link {file.relative_to(path)}")
    saved = _parse(path)
    chosen = type(_choose_graph(saved)).FromString(_choose_graph(saved).SerializeToString())
    del saved.meta_graphs[:]
    saved.meta_graphs.append(chosen)
    graph = saved.meta_graphs[0]
    graph.meta_info_def.tags[:] = [SERVE]
    nodes = [*graph.graph_def.node]
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
    names = list_convertible() - READS_DATA
    return {name for name in names if not name.startswith("Queue")} | STRUCTURE | COMPUTES


class SavedModelSource:
    """One signature of a SavedModel."""

    framework = "tensorflow"
    classes: tuple[str, ...] = ()

    def __init__(
        self,
        path: Path,
        signature: str,
        signatures: Mapping[str, SignatureSpec],
        folder: tempfile.TemporaryDirectory[str] | None = None,
    ) -> None:
        """`folder` is the temporary folder that contains `path`, if it is a copy.

        Raises `ConversionFailed` if the signature cannot be imported or the model not be loaded.
        """
        self.path, self._folder, self.signature_name = path, folder, signature
        self._signatures = signatures
        spec = signatures[signature]
        if spec.reason:
            raise ConversionFailed(
                f"The signature {signature!r} of {path.name} cannot be imported: {spec.reason}.",
                hint="Save the model with fully specified inputs: signatures=f."
                "get_concrete_function(tf.TensorSpec(...)).",
            )
        self.inputs, self.outputs = spec.inputs, spec.outputs
        tensorflow = load_tensorflow()
        self._tags = [*_choose_graph(_parse(path)).meta_info_def.tags]
        try:
            with quiet():
                self.model = tensorflow.saved_model.load(str(path), tags=self._tags)
        except Exception as error:
            raise unreadable(path, first_line(error, 300)) from error
        self.function = self.model.signatures[signature]
        self.facts: Mapping[str, Json] = {
            "model": "SavedModel",
            "signature": signature,
            "tensorflow": tensorflow.__version__,
        }

    def run(self, batch: Arrays) -> Arrays:
        """The signature's outputs. Strings are objects of type `str`."""
        return run_in_chunks(self._run, self.inputs, batch)

    def export(self) -> ModelProto:
        """The graph, exported by tf2onnx."""
        arguments = [f"--saved-model={self.path}", f"--signature_def={self.signature_name}"]
        if SERVE not in self._tags:
            arguments += [f"--tag={tag}" for tag in self._tags[:1]]
        return name_io(run_tf2onnx(arguments), _by_name(self.inputs), _by_name(self.outputs))

    def other_signatures(self) -> Mapping[str, SavedModelSource]:
        """The other signatures by name, except those with a reason why they cannot be imported.

        Equal signatures are one object, which may be this one.
        """
        opened = {self._signatures[self.signature_name]: self}
        found = {}
        for name, spec in self._signatures.items():
            if name == self.signature_name or spec.reason:
                continue
            source = opened.get(spec) if spec.function else None
            found[name] = source or SavedModelSource(
                self.path, name, self._signatures, self._folder
            )
            opened[spec] = found[name]
        return found

    def hard_samples(self) -> Sequence[Arrays]:
        """None."""
        return ()

    def files(self) -> Mapping[str, bytes | Path]:
        """No files."""
        return {}

    def _run(self, batch: Arrays) -> Arrays:
        tensorflow = load_tensorflow()
        tensors = {
            spec.name: tensorflow.constant(batch[spec.name], spec.dtype) for spec in self.inputs
        }
        try:
            outputs = self.function(**tensors)
        except tensorflow.errors.OpError as error:
            raise RuntimeError(find_reason(str(error))) from error
        return {spec.name: read_strings(outputs[spec.name].numpy()) for spec in self.outputs}


def find_reason(text: str) -> str:
    """The line of TensorFlow's message that says what failed, which precedes the node's name."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for before, line in pairwise(lines):
        if line.startswith("[[{{node"):
            return before
    return lines[0] if lines else "no reason given"


def read_strings(array: Array) -> Array:
    """An array of `bytes` as one of `str`, as ONNX Runtime gives them; others are unchanged."""
    array = np.asarray(array)
    if array.dtype.kind not in "OS":
        return array
    texts = [each.decode("utf-8", "replace") for each in array.ravel().tolist()]
    return np.array(texts, object).reshape(array.shape)


def _by_name(specs: Sequence[TensorSpec]) -> dict[str, TensorSpec]:
    return {spec.name: spec for spec in specs}


def _parse(path: Path) -> SavedModel:
    load_tensorflow()
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString((path / "saved_model.pb").read_bytes())
    except Exception as error:
        raise unreadable(path, f"saved_model.pb is damaged ({error})") from error
    if not saved.meta_graphs:
        raise unreadable(path, "saved_model.pb contains no graph")
    return saved


def _choose_graph(saved: SavedModel) -> MetaGraphDef:
    """The graph for serving on a CPU, else the first."""

    def rank(graph: MetaGraphDef) -> tuple[bool, int]:
        return SERVE not in graph.meta_info_def.tags, len(graph.meta_info_def.tags)

    return min(saved.meta_graphs, key=rank)


def _read_signature(graph: MetaGraphDef, name: str) -> SignatureSpec:
    definition = graph.signature_def[name]
    sides = (definition.inputs, definition.outputs)
    reasons = [
        f"{key!r} {reason}"
        for side in sides
        for key in sorted(side)
        if (reason := _find_obstacle(side[key]))
    ]
    if not definition.inputs or not definition.outputs:
        reasons.append(f"it has no {'outputs' if definition.inputs else 'inputs'}")
    inputs, outputs = ([_describe(key, side[key]) for key in sorted(side)] for side in sides)
    spec = describe_signature(inputs, outputs, "; ".join(reasons))
    return replace(spec, function=digest_signature(graph, name))


def _find_obstacle(info: TensorInfo) -> str:
    """Why a tensor cannot be served, or ""."""
    encoding = info.WhichOneof("encoding")
    if encoding not in ("name", None):
        return f"is {'sparse' if encoding == 'coo_sparse' else 'ragged or composite'}"
    if _dtype_name(info) not in DTYPES:
        return f"has the dtype {_dtype_name(info)}"
    return "has no known rank" if info.tensor_shape.unknown_rank else ""


def _describe(name: str, info: TensorInfo) -> TensorSpec:
    sides = tuple(None if dim.size < 0 else int(dim.size) for dim in info.tensor_shape.dim)
    return TensorSpec(name, _dtype_name(info), sides)


def _dtype_name(info: TensorInfo) -> str:
    tensorflow = load_tensorflow()
    return str(tensorflow.dtypes.as_dtype(info.dtype).name)
