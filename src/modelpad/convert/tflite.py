"""TensorFlow Lite: a `.tflite` file, described and run in child processes, exported by tf2onnx.

The interpreter is native code that may abort on an unusual file, so it never runs in this process.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modelpad.convert.archives import unreadable
from modelpad.convert.isolation import isolate
from modelpad.convert.lite_inspection import inspect_model, move_signature_first
from modelpad.convert.saved_model import read_strings
from modelpad.convert.signatures import (
    SignatureSpec,
    choose_signature,
    describe_signature,
    run_in_chunks,
)
from modelpad.convert.source import TensorSpec
from modelpad.convert.tensorflow_export import (
    LITE_PREFIX,
    OWN_CONVERSIONS,
    cannot_convert,
    fork_tf2onnx,
    list_convertible,
    load_tensorflow,
    name_io,
)
from modelpad.errors import ConversionFailed
from modelpad.fields.arrays import Array, Arrays
from modelpad.foreign_json import Json

if TYPE_CHECKING:
    from onnx import ModelProto

# The interpreter quantizes activations on the fly, by a method that ONNX has no operators for. The
# graph computes in float32 instead.
DYNAMIC_RANGE_TOLERANCE = 0.05
ORIGINAL = "Import the SavedModel or Keras model that it was converted from."


class LiteFile:
    """A `.tflite` file and its signatures.

    `tensors` maps each signature's inputs and outputs to the interpreter's details of their
    tensors: name, index, scale, zero_point and quantum.
    """

    def __init__(self, path: Path) -> None:
        """Raises `ConversionFailed` if it cannot be read, or crashes the interpreter."""
        load_tensorflow()
        self.path = path
        try:
            record = json.loads(isolate(lambda: _inspect(path), f"Reading {path.name}"))
        except RuntimeError as error:
            raise unreadable(path, str(error)[:300]) from error
        self.operators: list[str] = record["operators"]
        self.quantization: str = record["quantization"]
        self.named: bool = record["named"]
        self.tensors: dict[str, dict[str, dict[str, Any]]] = record["signatures"]
        self.signatures: Mapping[str, SignatureSpec] = {
            name: describe_signature(_describe(sides["inputs"]), _describe(sides["outputs"]))
            for name, sides in sorted(self.tensors.items())
        }

    def check(self) -> None:
        """Raises `ConversionFailed` for operators that cannot be run or converted."""
        names = [name for name in list_convertible() if name.startswith(LITE_PREFIX)]
        known = {name.removeprefix(LITE_PREFIX) for name in names} | OWN_CONVERSIONS
        flex = [name for name in self.operators if name.startswith("Flex")]
        if flex:
            raise ConversionFailed(
                f"{self.path.name} uses operators of TensorFlow that TensorFlow Lite does not"
                f" have: {', '.join(name.removeprefix('Flex') for name in flex)}.",
                hint=ORIGINAL,
            )
        unknown = [name for name in self.operators if name not in known]
        if unknown:
            raise cannot_convert(unknown, self.path.name, hint=ORIGINAL)

    def run(self, signature: str, batch: Arrays) -> Arrays:
        """Runs a signature in a child process.

        Raises:
            ConversionFailed: the interpreter crashes.
            RuntimeError: it reports an error.
        """
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in batch.items())
        content = isolate(
            lambda: _pack(_run(self, signature, batch)), f"Running {self.path.name} with {shapes}"
        )
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            names = [*self.tensors[signature]["outputs"]]
            unpacked = [arrays[f"arr_{index}"] for index in range(len(names))]
        return {
            name: array.astype(object) if array.dtype.kind == "U" else array
            for name, array in zip(names, unpacked, strict=True)
        }


class LiteSource:
    """One signature of a `.tflite` file.

    `quanta` is one step of each quantized output, in the output's own unit: rounding may differ by
    so much. `tolerance` is the relative difference to accept, None for the default.
    """

    framework = "tflite"
    classes: tuple[str, ...] = ()

    def __init__(self, file: LiteFile, wanted: str | None = None) -> None:
        """Raises `ConversionFailed` for unsupported operators, `UsageError` for the signature."""
        file.check()
        self.file, self.path = file, file.path
        self.signature_name = choose_signature([*file.signatures], wanted, file.path)
        spec = file.signatures[self.signature_name]
        self.inputs, self.outputs = spec.inputs, spec.outputs
        self._tensors = file.tensors[self.signature_name]
        self.quanta: Mapping[str, float] = {
            name: tensor["quantum"]
            for name, tensor in self._tensors["outputs"].items()
            if tensor["quantum"]
        }
        dynamic = file.quantization == "dynamic range"
        self.tolerance = DYNAMIC_RANGE_TOLERANCE if dynamic else None
        self.facts: Mapping[str, Json] = {
            "model": "TensorFlow Lite",
            "signature": self.signature_name,
            "quantization": file.quantization,
            "scales": self._describe_scales(),
            "tensorflow": load_tensorflow().__version__,
        }

    def run(self, batch: Arrays) -> Arrays:
        """The interpreter's outputs. Strings are objects of type `str`."""
        run = self.file.run
        return run_in_chunks(lambda items: run(self.signature_name, items), self.inputs, batch)

    def export(self) -> ModelProto:
        """The graph, exported by tf2onnx."""
        with tempfile.TemporaryDirectory() as folder:
            path = self.path
            if len(self.file.signatures) > 1:
                path = Path(folder) / "model.tflite"
                path.write_bytes(
                    isolate(
                        lambda: move_signature_first(self.path, self.signature_name),
                        f"Reading {self.path.name}",
                    )
                )
            arguments = [f"--tflite={path}"]
            if self.tolerance is not None:
                arguments.append("--dequantize")
            model = fork_tf2onnx(arguments)
        return name_io(model, self._by_tensor("inputs"), self._by_tensor("outputs"))

    def other_signatures(self) -> Mapping[str, LiteSource]:
        """The other signatures by name."""
        names = [name for name in self.file.signatures if name != self.signature_name]
        return {name: LiteSource(self.file, name) for name in names}

    def hard_samples(self) -> Sequence[Arrays]:
        """The smallest and the largest numbers of quantized inputs."""
        shapes = {spec.name: tuple(side or 0 for side in spec.item_shape) for spec in self.inputs}
        scales = [tensor["scale"] for tensor in self._tensors["inputs"].values()]
        if not all(scales) or any(0 in shape for shape in shapes.values()):
            return ()
        return [
            {
                spec.name: np.full(shapes[spec.name], getattr(np.iinfo(spec.dtype), edge)).astype(
                    spec.dtype
                )
                for spec in self.inputs
            }
            for edge in ("min", "max")
        ]

    def files(self) -> Mapping[str, bytes | Path]:
        """No files."""
        return {}

    def _describe_scales(self) -> dict[str, Json]:
        """Scale and zero point of the inputs and outputs that have them."""
        return {
            name: {"scale": tensor["scale"], "zero_point": tensor["zero_point"]}
            for side in self._tensors.values()
            for name, tensor in side.items()
            if tensor["scale"]
        }

    def _by_tensor(self, side: str) -> dict[str, TensorSpec]:
        """The specs by the names of their tensors, as tf2onnx names them."""
        specs = {spec.name: spec for spec in (self.inputs if side == "inputs" else self.outputs)}
        return {tensor["name"]: specs[name] for name, tensor in self._tensors[side].items()}


def _inspect(path: Path) -> bytes:
    interpreter = load_tensorflow().lite.Interpreter(model_path=str(path))
    return json.dumps(inspect_model(path, interpreter)).encode()


def _run(file: LiteFile, signature: str, batch: Arrays) -> Arrays:
    interpreter = load_tensorflow().lite.Interpreter(model_path=str(file.path))
    sides = file.tensors[signature]
    if file.named:
        outputs = interpreter.get_signature_runner(signature)(**batch)
        return {name: outputs[name] for name in sides["outputs"]}
    for name, tensor in sides["inputs"].items():
        interpreter.resize_tensor_input(tensor["index"], batch[name].shape)
    interpreter.allocate_tensors()
    for name, tensor in sides["inputs"].items():
        interpreter.set_tensor(tensor["index"], batch[name])
    interpreter.invoke()
    return {
        name: interpreter.get_tensor(tensor["index"]) for name, tensor in sides["outputs"].items()
    }


def _pack(arrays: Arrays) -> bytes:
    def plain(array: Array) -> Array:
        array = read_strings(array)
        return array.astype(str) if array.dtype == object else array

    buffer = io.BytesIO()
    np.savez(buffer, *map(plain, arrays.values()))
    return buffer.getvalue()


def _describe(side: Mapping[str, Mapping[str, Any]]) -> list[TensorSpec]:
    return [
        TensorSpec(
            name, tensor["dtype"], tuple(None if side < 0 else side for side in tensor["shape"])
        )
        for name, tensor in side.items()
    ]
