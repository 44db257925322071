"""What is in a `.tflite` file: operators, quantization, signatures and their tensors.

It parses untrusted files, so it runs in a child process only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modelpad.convert.signatures import DEFAULT_SIGNATURE

if TYPE_CHECKING:
    from tensorflow.lite import Interpreter
    from tensorflow.lite.python.schema_py_generated import ModelT, TensorT


def inspect_model(path: Path, interpreter: Interpreter) -> dict[str, Any]:
    """A description of the file, as JSON.

    `operators` are the names of all operators. `quantization` is `float16` or `dynamic range`
    (weights only), `full integer`, or empty. `named` says whether the file has signatures; else
    its inputs and outputs are those of one signature, `serving_default`. `signatures` has the
    tensors of each signature's inputs and outputs by name, sorted if they are named.
    """
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(str(path))
    names = [*interpreter.get_signature_list()]
    if names:
        runners = {name: interpreter.get_signature_runner(name) for name in names}
        signatures = {
            name: (runner.get_input_details(), runner.get_output_details())
            for name, runner in runners.items()
        }
    else:
        inputs = {each["name"]: each for each in interpreter.get_input_details()}
        outputs = {each["name"]: each for each in interpreter.get_output_details()}
        signatures = {DEFAULT_SIGNATURE: (inputs, outputs)}
    quanta = _find_quanta(model)
    return {
        "operators": _list_operators(model),
        "quantization": _find_quantization(model),
        "named": bool(names),
        "signatures": {
            name: {
                "inputs": _describe(inputs, {}, sort=bool(names)),
                "outputs": _describe(outputs, quanta, sort=bool(names)),
            }
            for name, (inputs, outputs) in signatures.items()
        },
    }


def move_signature_first(path: Path, name: str) -> bytes:
    """The file with the graph of the signature `name` as its main graph, which exporters take."""
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(str(path))
    index = next(
        each.subgraphIndex for each in model.signatureDefs if each.signatureKey.decode() == name
    )
    graphs = model.subgraphs
    graphs[0], graphs[index] = graphs[index], graphs[0]
    model.signatureDefs = []
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _describe(
    details: Mapping[str, Any], quanta: Mapping[str, float], *, sort: bool
) -> dict[str, dict[str, Any]]:
    described = {}
    for name in sorted(details) if sort else details:
        each = details[name]
        scale, zero_point = each["quantization"]
        dtype = np.dtype(each["dtype"])
        quantum = 1.0 if scale and dtype.kind in "iu" else quanta.get(each["name"], 0.0)
        described[name] = {
            "name": each["name"],
            "index": int(each["index"]),
            "dtype": dtype.name if dtype.kind in "biuf" else "string",
            "shape": [int(side) for side in each.get("shape_signature", each["shape"])],
            "scale": float(scale),
            "zero_point": int(zero_point),
            "quantum": float(quantum),
        }
    return described


def _list_operators(model: ModelT) -> list[str]:
    return sorted({_operator_name(model, index) for index in range(len(model.operatorCodes))})


def _operator_name(model: ModelT, index: int) -> str:
    from tensorflow.lite.python.schema_py_generated import BuiltinOperator

    code = model.operatorCodes[index]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    if number == BuiltinOperator.CUSTOM:
        return str(code.customCode.decode())
    names = {value: key for key, value in vars(BuiltinOperator).items() if key[0] != "_"}
    return str(names.get(number, f"operator {number}"))


def _find_quantization(model: ModelT) -> str:
    from tensorflow.lite.python.schema_py_generated import TensorType

    integers = {TensorType.INT8, TensorType.UINT8, TensorType.INT16}
    constants, others, halves = False, False, False
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            constant = model.buffers[tensor.buffer].data is not None
            halves |= constant and tensor.type == TensorType.FLOAT16
            if tensor.type in integers and _scale(tensor):
                constants, others = constants or constant, others or not constant
    if others:
        return "full integer"
    return "dynamic range" if constants else "float16" if halves else ""


def _find_quanta(model: ModelT) -> dict[str, float]:
    """One step of each float tensor that a DEQUANTIZE operator makes, by the tensor's name."""
    quanta = {}
    for graph in model.subgraphs:
        for operator in graph.operators or []:
            if _operator_name(model, operator.opcodeIndex) == "DEQUANTIZE":
                source = graph.tensors[operator.inputs[0]]
                if model.buffers[source.buffer].data is None and _scale(source):
                    name = graph.tensors[operator.outputs[0]].name.decode()
                    quanta[name] = _scale(source)
    return quanta


def _scale(tensor: TensorT) -> float:
    scales = tensor.quantization.scale if tensor.quantization is not None else None
    return float(scales[0]) if scales is not None and len(scales) else 0.0
