"""The Open Inference Protocol over gRPC: KServe's six calls, Triton's for streams and models."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from modelpad import __version__
from modelpad.engine import TensorInfo
from modelpad.errors import InvalidInput, ModelpadError
from modelpad.server.codec import Codec, Inputs, Outputs
from modelpad.server.grpc.calls import run_large
from modelpad.server.lifecycle.overrides import LOAD, UNLOAD
from modelpad.server.models import ServedModel
from modelpad.server.protocols.openinference.datatypes import (
    DATATYPES,
    DTYPES,
    classify,
    pack_tensor,
    unpack_tensor,
)
from modelpad.server.protocols.openinference.descriptions import list_extensions
from modelpad.server.protocols.protobuf import load_message, write_field, write_values
from modelpad.server.protocols.repository import list_entries
from modelpad.server.protocols.tensors import check_batch, count_elements

if TYPE_CHECKING:
    from modelpad.server.grpc.calls import Call
    from modelpad.server.host import ModelHost
    from modelpad.server.inference import Inference
    from modelpad.server.protocols.grpc_messages import (
        IndexRequest,
        InferRequest,
        InputTensor,
        Message,
        ModelRequest,
        OverrideRequest,
    )

SERVICE = "inference.GRPCInferenceService"
CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
WIDEST = {"i": np.dtype(np.int64), "u": np.dtype(np.uint64)}
# Field numbers of what is written by hand.
OUTPUTS, RAW_OUTPUT_CONTENTS, CONTENTS_OF_OUTPUT, INFER_RESPONSE = 5, 6, 5, 2
# An element of BYTES as a Python object, beside its bytes.
ELEMENT_BYTES = 64


def make(kind: str, /, **fields: object) -> Message:
    """A message of this protocol."""
    made: Message = load_message(f"inference.{kind}")(**fields)
    return made


class InferenceService:
    """The calls, by the names that they have in the protocol."""

    def __init__(self, host: ModelHost, inference: Inference, *, has_admins: bool) -> None:
        self._host = host
        self._inference = inference
        self._has_admins = has_admins

    async def ServerLive(self, request: object, call: Call) -> Message:
        """The process answers."""
        return make("ServerLiveResponse", live=True)

    async def ServerReady(self, request: object, call: Call) -> Message:
        """Readiness: the models are loaded, and the server is not stopping."""
        return make("ServerReadyResponse", ready=self._host.is_ready)

    async def ModelReady(self, request: ModelRequest, call: Call) -> Message:
        """Whether a model is ready; an unknown one is not, which is no error."""
        try:
            self._host.require_models().find(request.name, request.version)
        except ModelpadError:
            return make("ModelReadyResponse", ready=False)
        return make("ModelReadyResponse", ready=self._host.is_ready)

    async def ServerMetadata(self, request: object, call: Call) -> Message:
        """Name, version and extensions."""
        extensions = list_extensions(admin=self._has_admins)
        return make(
            "ServerMetadataResponse", name="modelpad", version=__version__, extensions=extensions
        )

    async def ModelMetadata(self, request: ModelRequest, call: Call) -> Message:
        """A model's tensors."""
        model = await self._host.find(request.name, request.version, call.sticky_key)
        served = self._host.require_models().find_versions(model.name)

        def describe(infos: list[TensorInfo]) -> list[dict[str, object]]:
            return [
                {"name": i.name, "datatype": DATATYPES[i.dtype], "shape": i.shape} for i in infos
            ]

        return make(
            "ModelMetadataResponse",
            name=model.name,
            versions=[str(version) for version in sorted(served.versions)],
            platform=model.platform,
            inputs=describe(model.inputs),
            outputs=describe(model.outputs),
        )

    async def ModelInfer(self, request: InferRequest, call: Call) -> bytes:
        """Inference, with typed contents or raw ones; the response as bytes."""
        model = await self._host.find(request.model_name, request.model_version, call.sticky_key)
        return await self._inference.predict(model, INFER, request, call)

    async def RepositoryIndex(self, request: IndexRequest, call: Call) -> Message:
        """Every version and its state, for admins."""
        entries = await list_entries(self._host, ready=request.ready)
        return make("RepositoryIndexResponse", models=[asdict(each) for each in entries])

    async def RepositoryModelLoad(self, request: OverrideRequest, call: Call) -> Message:
        """Loads a model, for admins."""
        await self._host.override(LOAD, request.model_name)
        return make("RepositoryModelLoadResponse")

    async def RepositoryModelUnload(self, request: OverrideRequest, call: Call) -> Message:
        """Unloads a model, for admins."""
        await self._host.override(UNLOAD, request.model_name)
        return make("RepositoryModelUnloadResponse")

    async def ModelStreamInfer(
        self, requests: AsyncIterator[InferRequest], call: Call
    ) -> AsyncIterator[Message | bytes]:
        """A response for each request of a stream; an error takes its response's place."""
        async for request in requests:
            try:
                response = await self.ModelInfer(request, call)
                yield b"".join(write_field(INFER_RESPONSE, response))
            except ModelpadError as error:
                yield make("ModelStreamInferResponse", error_message=error.words)


def read(
    model: ServedModel, request: InferRequest, call: Call
) -> Inputs[tuple[InferRequest, Call]]:
    """The tensors of a request; its option is the request with its call.

    Raises:
        InvalidInput: they do not fit the model.
        TooLarge, Overloaded: they need more memory than there may be, or is now.
    """
    call.reserve(estimate_elements(request))
    given = request.parameters
    timeout = given["timeout"].int64_param if "timeout" in given else 0
    return Inputs(
        tensors=check_batch(model, read_tensors(request)),
        timeout_s=timeout / 1e6 if timeout > 0 else None,
        options=(request, call),
        held_bytes=call.reserved.size,
    )


async def write(
    model: ServedModel, inputs: Inputs[tuple[InferRequest, Call]], outputs: Outputs
) -> bytes:
    """The serialized response. Raises as `write_response`, and as `Call.reserve`."""
    request, call = inputs.options
    size = estimate_response(outputs)
    call.reserve(size)
    return await run_large(size, write_response, model, request, outputs)


INFER = Codec(read, write)


def read_tensors(request: InferRequest) -> dict[str, NDArray[np.generic]]:
    """The request's tensors by name. Raises `InvalidInput` and `TooLarge`."""
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise InvalidInput(
            f"There are {len(request.inputs)} inputs and {len(raw)} raw contents.",
            field="raw_input_contents",
            expected=f"{len(request.inputs)}",
            got=f"{len(raw)}",
        )
    arrays: dict[str, NDArray[np.generic]] = {}
    for index, tensor in enumerate(request.inputs):
        shape = list(tensor.shape)
        if tensor.datatype not in DTYPES:
            raise InvalidInput(
                f"The input {tensor.name!r} has an unknown datatype: {tensor.datatype!r}.",
                field=tensor.name,
                expected=", ".join(DTYPES),
                got=tensor.datatype,
            )
        if raw:
            if tensor.HasField("contents"):
                raise InvalidInput(
                    f"The input {tensor.name!r} has both raw and typed contents.",
                    hint="Send one of the two.",
                    field=tensor.name,
                )
            arrays[tensor.name] = unpack_tensor(raw[index], tensor.datatype, shape, tensor.name)
        else:
            arrays[tensor.name] = _read_contents(tensor, shape)
    return arrays


def _read_contents(tensor: InputTensor, shape: list[int]) -> NDArray[np.generic]:
    field = CONTENTS.get(tensor.datatype)
    if field is None:
        raise InvalidInput(
            f"{tensor.datatype} must be sent as raw contents.", field=tensor.name, expected="raw"
        )
    values: Sequence[bytes | float] = getattr(tensor.contents, field)
    count = count_elements(shape, tensor.name)
    if len(values) != count:
        raise InvalidInput(
            f"The input {tensor.name!r} has {len(values)} elements, its shape {shape} {count}.",
            field=tensor.name,
            expected=f"{count} elements in {field}",
            got=f"{len(values)}",
        )
    if tensor.datatype == "BYTES":
        return np.array(list(values), dtype=object).reshape(shape)
    dtype = np.dtype(DTYPES[tensor.datatype])
    # One by one: a list of Python's numbers would take four times as much.
    wide = np.fromiter(values, WIDEST.get(dtype.kind, dtype), count)
    array = wide.astype(dtype, copy=False)
    if not np.array_equal(wide, array, equal_nan=dtype.kind == "f"):
        raise InvalidInput(
            f"The input {tensor.name!r} has numbers outside {tensor.datatype}.",
            field=tensor.name,
            expected=tensor.datatype,
        )
    return array.reshape(shape)


def estimate_elements(request: InferRequest) -> int:
    """The memory, in bytes, of the objects that raw BYTES become."""
    raw = request.raw_input_contents
    if not raw or len(raw) != len(request.inputs):
        return 0
    lengths = (len(raw[n]) for n, each in enumerate(request.inputs) if each.datatype == "BYTES")
    return ELEMENT_BYTES * sum(size // 4 for size in lengths)


def estimate_response(outputs: Outputs) -> int:
    """The memory, in bytes, that a response of these takes until it is sent."""
    return sum(
        ELEMENT_BYTES * array.size + 3 * sum(len(value) for value in array.flat)
        if array.dtype.kind in "OSU"
        else 3 * max(array.nbytes, 8 * array.size if array.dtype.kind in "iu" else 0)
        for array in outputs.values()
    )


def write_response(model: ServedModel, request: InferRequest, outputs: Outputs) -> bytes:
    """The serialized response, raw where the request was raw or the type has no other form.

    Raises `InvalidInput` for unknown outputs.
    """
    wanted = list(request.outputs)
    names = [each.name for each in wanted] or [info.name for info in model.outputs]
    counts = {
        each.name: each.parameters["classification"].int64_param
        for each in wanted
        if "classification" in each.parameters
    }
    raw = bool(request.raw_input_contents)
    head = make(
        "ModelInferResponse",
        model_name=model.name,
        model_version=str(model.version),
        id=request.id,
    )
    parts = [head.SerializeToString()]
    raw_parts: list[bytes] = []
    for name in names:
        if name not in outputs:
            raise InvalidInput(
                f"unexpected inference output {name!r} for model {model.name!r}.",
                hint=f"Its outputs: {', '.join(outputs)}.",
                field="outputs",
            )
        array = outputs[name]
        if counts.get(name):
            array = classify(model, name, array, counts[name])
        datatype = "BYTES" if array.dtype.kind in "OSU" else DATATYPES[str(array.dtype)]
        shape = list(array.shape)
        tensor = make(
            "ModelInferResponse.InferOutputTensor", name=name, datatype=datatype, shape=shape
        ).SerializeToString()
        if raw or datatype not in CONTENTS:
            parts += write_field(OUTPUTS, tensor)
            raw_parts += write_field(RAW_OUTPUT_CONTENTS, pack_tensor(array))
        else:
            values = write_values("inference.InferTensorContents", CONTENTS[datatype], array)
            contents = write_field(CONTENTS_OF_OUTPUT, *values)
            parts += write_field(OUTPUTS, tensor, *contents)
    return b"".join(parts + raw_parts)
