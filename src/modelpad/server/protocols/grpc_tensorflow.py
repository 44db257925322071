"""TensorFlow Serving over gRPC: Predict, GetModelMetadata and GetModelStatus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelpad.errors import InvalidInput
from modelpad.server.codec import Codec, Inputs, Outputs
from modelpad.server.grpc.calls import run_large
from modelpad.server.models import ServedModel
from modelpad.server.protocols.grpc_inference import WIDEST, estimate_response
from modelpad.server.protocols.protobuf import (
    load_enum,
    load_message,
    write_field,
    write_values,
)
from modelpad.server.protocols.tensors import check_batch, count_elements
from modelpad.server.protocols.tfserving import DTYPES
from modelpad.server.protocols.tfserving_inputs import read_signature

if TYPE_CHECKING:
    from modelpad.engine import TensorInfo
    from modelpad.server.grpc.calls import Call
    from modelpad.server.host import ModelHost
    from modelpad.server.inference import Inference
    from modelpad.server.protocols.grpc_messages import (
        Message,
        MetadataRequest,
        MetadataResponse,
        ModelSpec,
        PredictRequest,
        SignatureDefMap,
        SignatureTensor,
        StatusRequest,
        StatusResponse,
        TensorProto,
    )

PREDICTION, MODELS = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"
# Where a TensorProto keeps the numbers of each type, when it does not keep them as bytes.
VALUES = {
    "DT_FLOAT": "float_val",
    "DT_DOUBLE": "double_val",
    "DT_HALF": "half_val",
    "DT_INT8": "int_val",
    "DT_INT16": "int_val",
    "DT_INT32": "int_val",
    "DT_UINT8": "int_val",
    "DT_UINT16": "int_val",
    "DT_INT64": "int64_val",
    "DT_UINT32": "uint32_val",
    "DT_UINT64": "uint64_val",
    "DT_BOOL": "bool_val",
    "DT_STRING": "string_val",
}
# Field numbers of what is written by hand.
OUTPUTS, KEY, VALUE = 1, 1, 2
FILLED_BYTES = 16  # a number, before and after it has its type
METADATA_FIELD = "signature_def"
AVAILABLE = 30


def make(kind: str, /, **fields: object) -> Any:
    """A message of this protocol; see `grpc_messages`."""
    return load_message(f"tensorflow.serving.{kind}")(**fields)


class PredictionService:
    """The calls, by the names that they have in the protocol."""

    def __init__(self, host: ModelHost, inference: Inference) -> None:
        self._host = host
        self._inference = inference

    async def Predict(self, request: PredictRequest, call: Call) -> bytes:
        """Tensors in, tensors out, in the typed fields that its clients read; as bytes."""
        model = await find_model(self._host, request.model_spec, call)
        return await self._inference.predict(model, PREDICT, request, call)

    async def GetModelMetadata(self, request: MetadataRequest, call: Call) -> Message:
        """The signatures."""
        model = await find_model(self._host, request.model_spec, call)
        if list(request.metadata_field) != [METADATA_FIELD]:
            raise InvalidInput(
                f"Metadata field {list(request.metadata_field)} is not supported.",
                hint=f"Ask for {METADATA_FIELD}.",
            )
        signatures: SignatureDefMap = make("SignatureDefMap")
        for name, each in model.signatures.items():
            signature = signatures.signature_def[name]
            signature.method_name = "tensorflow/serving/predict"
            describe_tensors(signature.inputs, each.inputs)
            describe_tensors(signature.outputs, each.outputs)
        response: MetadataResponse = make(
            "GetModelMetadataResponse", model_spec=describe_spec(model)
        )
        packed = response.metadata[METADATA_FIELD]
        packed.type_url = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
        packed.value = signatures.SerializeToString()
        return response


class ModelService:
    """The states of versions."""

    def __init__(self, host: ModelHost) -> None:
        self._host = host

    async def GetModelStatus(self, request: StatusRequest, call: Call) -> Message:
        """Each loaded version is available."""
        spec = request.model_spec
        served = self._host.require_models().find_versions(spec.name)
        wanted = _read_version(spec)
        versions = [served.find(wanted).version] if wanted else sorted(served.versions)
        response: StatusResponse = make("GetModelStatusResponse")
        for version in versions:
            response.model_version_status.add(version=version, state=AVAILABLE)
        return response


def describe_tensors(side: Mapping[str, SignatureTensor], infos: Sequence[TensorInfo]) -> None:
    """Writes tensors into one side of a SignatureDef."""
    numbers = load_enum("tensorflow.DataType")
    for info in infos:
        tensor = side[info.name]
        tensor.name, tensor.dtype = f"{info.name}:0", numbers[DTYPES[info.dtype]]
        for size in info.shape:
            tensor.tensor_shape.dim.add(size=size)


async def find_model(host: ModelHost, spec: ModelSpec, call: Call) -> ServedModel:
    """The model of a request. Raises `InvalidInput` for an unknown signature, else as the host."""
    model = await host.find(spec.name, _read_version(spec), call.sticky_key)
    read_signature(model, spec.signature_name)
    return model


def read(
    model: ServedModel, request: PredictRequest, call: Call
) -> Inputs[tuple[PredictRequest, Call]]:
    """The tensors of a request; its option is the request with its call.

    Raises:
        InvalidInput: they do not fit the model.
        TooLarge, Overloaded: they need more memory than there may be, or is now.
    """
    signature = read_signature(model, request.model_spec.signature_name)
    model = model.select(signature)
    call.reserve(estimate_filled(request))
    arrays = {name: read_tensor(proto, name) for name, proto in request.inputs.items()}
    return Inputs(
        tensors=check_batch(model, arrays),
        signature=signature,
        options=(request, call),
        held_bytes=call.reserved.size,
    )


async def write(
    model: ServedModel, inputs: Inputs[tuple[PredictRequest, Call]], outputs: Outputs
) -> bytes:
    """The serialized response. Raises `InvalidInput` for unknown outputs; as `Call.reserve`."""
    request, call = inputs.options
    names = list(request.output_filter) or list(outputs)
    unknown = [name for name in names if name not in outputs]
    if unknown:
        raise InvalidInput(
            f"output tensor alias not found in signature: {unknown[0]}",
            hint=f"Its outputs: {', '.join(outputs)}.",
        )
    chosen = {name: outputs[name] for name in names}
    size = estimate_response(chosen)
    call.reserve(size)
    return await run_large(size, write_response, model, chosen)


PREDICT = Codec(read, write)


def estimate_filled(request: PredictRequest) -> int:
    """The memory, in bytes, of tensors that one value fills.

    Raises `InvalidInput` and `TooLarge` for an invalid shape.
    """
    size = 0
    for name, proto in request.inputs.items():
        count = count_elements([dim.size for dim in proto.tensor_shape.dim], name)
        size += FILLED_BYTES * count if proto.ByteSize() < count else 0
    return size


def write_response(model: ServedModel, outputs: Outputs) -> bytes:
    """The serialized response."""
    head: Message = make("PredictResponse", model_spec=describe_spec(model))
    parts = [head.SerializeToString()]
    for name, array in outputs.items():
        key = write_field(KEY, name.encode("utf-8"))
        parts += write_field(OUTPUTS, *key, *write_field(VALUE, *write_tensor(array)))
    return b"".join(parts)


def _read_version(spec: ModelSpec) -> str:
    kind = spec.WhichOneof("version_choice")
    if kind == "version":
        return str(spec.version.value)
    return str(spec.version_label) if kind else ""


def describe_spec(model: ServedModel) -> ModelSpec:
    """The model that predicted."""
    spec: ModelSpec = make(
        "ModelSpec",
        name=model.name,
        signature_name=model.signature_name or model.signature_names[0],
    )
    spec.version.value = model.version
    return spec


def read_tensor(proto: TensorProto, name: str) -> NDArray[np.generic]:
    """The array in a TensorProto: of its bytes, or of its typed values; one value fills all.

    Raises `InvalidInput` when they do not fit the shape.
    """
    numbers = load_enum("tensorflow.DataType")
    kind = next((word for word, number in numbers.items() if number == proto.dtype), "DT_INVALID")
    dtype = next((dtype for dtype, word in DTYPES.items() if word == kind), None)
    if dtype is None or proto.tensor_shape.unknown_rank:
        raise InvalidInput(f"The input {name!r} has no type or shape.", field=name, got=kind)
    shape = [dim.size for dim in proto.tensor_shape.dim]
    count = count_elements(shape, name)
    values: Sequence[bytes | float] = getattr(proto, VALUES[kind])
    if dtype == "string":
        array = np.array(list(values), dtype=object)
    elif proto.tensor_content:
        wanted = np.dtype(dtype).newbyteorder("<")
        if len(proto.tensor_content) != count * wanted.itemsize:
            raise InvalidInput(
                f"The input {name!r} has {len(proto.tensor_content)} bytes for shape {shape}.",
                field=name,
                expected=f"{count * wanted.itemsize} bytes",
            )
        array = np.frombuffer(proto.tensor_content, wanted)
    elif kind == "DT_HALF":
        array = np.fromiter(values, np.uint16, len(values)).view(np.float16)
    else:
        # One by one: a list of Python's numbers would take four times as much.
        kept = np.dtype(dtype)
        given = np.fromiter(values, WIDEST.get(kept.kind, kept), len(values))
        array = given.astype(kept, copy=False)
        if array.dtype.kind in "iu" and not np.array_equal(given, array):
            raise InvalidInput(
                f"The input {name!r} has numbers outside {kind}.", field=name, expected=kind
            )
    if array.size == 1 and count > 1:
        array = np.repeat(array, count)
    if array.size != count:
        raise InvalidInput(
            f"The input {name!r} has {array.size} values for shape {shape}.",
            field=name,
            expected=f"{count} values",
            got=str(array.size),
        )
    return array.reshape(shape)


def write_tensor(array: NDArray[np.generic]) -> list[bytes]:
    """A serialized TensorProto, in parts, with its numbers in the typed field: clients of
    TensorFlow Serving read only that."""
    kind = "DT_STRING" if array.dtype.kind in "OSU" else DTYPES[str(array.dtype)]
    number = load_enum("tensorflow.DataType")[kind]
    proto: TensorProto = load_message("tensorflow.TensorProto")(dtype=number)
    for side in array.shape:
        proto.tensor_shape.dim.add(size=side)
    flat = array.reshape(-1)
    values = flat.view(np.uint16) if kind == "DT_HALF" else flat
    return [
        proto.SerializeToString(),
        *write_values("tensorflow.TensorProto", VALUES[kind], values),
    ]
