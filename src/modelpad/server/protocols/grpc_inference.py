"""The Open Inference Protocol over gRPC: KServe's six calls, and Triton's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import asdict
from numpy.typing import NDArray

from modelpad.errors import InvalidInput, ModelNotFound, ModelpadError
from modelpad.server.codec import Codec, Inputs, Outputs
from modelpad.server.grpc.calls import run_large
from modelpad.server.lifecycle.overrides import LOAD, UNLOAD
from modelpad.server.models import ServedModel
from modelpad.server.protocols.generate import find_writer
from modelpad.server.protocols.generate_text import stream_pieces
from modelpad.server.protocols.grpc_text import read_text_record, stream_text, write_text
from modelpad.server.protocols.openinference.datatypes import (
    DATATYPES,
    DTYPES,
    ELEMENT_BYTES,
    bind_only_input,
    check_datatype,
    check_parameters,
    classify_output,
    estimate_elements,
    pack_tensor,
    unpack_tensor,
)
from modelpad.server.protocols.openinference.declined import (
    LOGGING,
    SHARED_MEMORY,
    TRACING,
    decline,
)
from modelpad.server.protocols.openinference.descriptions import (
    describe_config,
    describe_model,
    describe_server,
    describe_stats,
    select_models,
)
from modelpad.server.protocols.protobuf import make_inference, write_field, write_values
from modelpad.server.protocols.repository import list_entries, override
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


class InferenceService:
    """The calls, by the names that they have in the protocol."""

    def __init__(self, host: ModelHost, inference: Inference, *, has_admins: bool) -> None:
        self._host = host
        self._inference = inference
        self._has_admins = has_admins

    async def ServerLive(self, request: object, call: Call) -> Message:
        """The process answers."""
        return make_inference("ServerLiveResponse", live=True)

    async def ServerReady(self, request: object, call: Call) -> Message:
        """Readiness: the models are loaded, and the server is not stopping."""
        return make_inference("ServerReadyResponse", ready=self._host.is_ready)

    async def ModelReady(self, request: ModelRequest, call: Call) -> Message:
        """Whether a model is ready; an unknown one is not, which is no error."""
        try:
            self._host.require_models().find(request.name, request.version)
        except ModelpadError:
            return make_inference("ModelReadyResponse", ready=False)
        return make_inference("ModelReadyResponse", ready=self._host.is_ready)

    async def ServerMetadata(self, request: object, call: Call) -> Message:
        """Name, version and extensions."""
        return make_inference("ServerMetadataResponse", **describe_server(admin=self._has_admins))

    async def ModelMetadata(self, request: ModelRequest, call: Call) -> Message:
        """A model's tensors."""
        model = await self._find(request.name, request.version, call)
        served = self._host.require_models().find_versions(model.name)
        return make_inference("ModelMetadataResponse", **describe_model(served, model))

    async def ModelConfig(self, request: ModelRequest, call: Call) -> Message:
        """A model's configuration, as Triton's clients read it."""
        model = await self._find(request.name, request.version, call)
        return make_inference("ModelConfigResponse", config=describe_config(model))

    async def ModelStatistics(self, request: ModelRequest, call: Call) -> Message:
        """Statistics of a version, of all versions of a model or, without a name, of all models."""
        with explain_unknown():
            models = select_models(self._host.require_models(), request.name, request.version)
        metrics = await self._host.aggregate_metrics()
        return make_inference("ModelStatisticsResponse", **describe_stats(models, metrics))

    async def ModelInfer(self, request: InferRequest, call: Call) -> bytes:
        """Inference, with typed contents or raw ones; the response as bytes."""
        model = await self._find(request.model_name, request.model_version, call)
        text = find_writer(model)
        if text is not None and {each.name for each in request.inputs} - {model.inputs[0].name}:
            async with aclosing(
                stream_pieces(text, read_text_record(request, read_tensors(request, call)))
            ) as pieces:
                whole = "".join([piece.text async for piece in pieces])
            return write_text(model, request, whole).SerializeToString()
        return await self._inference.predict(model, INFER, request, call)

    async def RepositoryIndex(self, request: IndexRequest, call: Call) -> Message:
        """Every version and its state."""
        entries = await list_entries(self._host, ready=request.ready)
        return make_inference("RepositoryIndexResponse", models=[asdict(each) for each in entries])

    async def RepositoryModelLoad(self, request: OverrideRequest, call: Call) -> Message:
        """Loads a model, for admins."""
        await override(self._host, LOAD, request.model_name, request.parameters)
        return make_inference("RepositoryModelLoadResponse")

    async def RepositoryModelUnload(self, request: OverrideRequest, call: Call) -> Message:
        """Unloads a model, for admins."""
        await override(self._host, UNLOAD, request.model_name)
        return make_inference("RepositoryModelUnloadResponse")

    async def TraceSetting(self, request: object, call: Call) -> Message:
        """Declined."""
        raise decline(TRACING)

    async def LogSettings(self, request: object, call: Call) -> Message:
        """Declined."""
        raise decline(LOGGING)

    async def SystemSharedMemoryStatus(self, request: object, call: Call) -> Message:
        """Declined, as are the five below."""
        raise decline(SHARED_MEMORY)

    SystemSharedMemoryRegister = SystemSharedMemoryUnregister = SystemSharedMemoryStatus
    CudaSharedMemoryStatus = SystemSharedMemoryStatus
    CudaSharedMemoryRegister = CudaSharedMemoryUnregister = SystemSharedMemoryStatus

    async def ModelStreamInfer(
        self, requests: AsyncIterator[InferRequest], call: Call
    ) -> AsyncIterator[Message | bytes]:
        """A response for each request of a stream; an error takes its response's place.

        Of a language model, a request has a response for each piece of its text.
        """
        async for request in requests:
            try:
                model = await self._find(request.model_name, request.model_version, call)
                text = find_writer(model)
                if text is not None:
                    async with aclosing(
                        stream_text(model, text, request, read_tensors(request, call))
                    ) as responses:
                        async for each in responses:
                            yield each
                    continue
                response = await self.ModelInfer(request, call)
                yield b"".join(write_field(INFER_RESPONSE, response))
            except ModelpadError as error:
                yield make_inference("ModelStreamInferResponse", error_message=error.words)

    async def _find(self, name: str, version: str, call: Call) -> ServedModel:
        with explain_unknown():
            return await self._host.find(name, version, call.sticky_key)


@contextmanager
def explain_unknown() -> Iterator[None]:
    """Gives the error for an unknown model the words that Triton's clients look for."""
    try:
        yield
    except ModelNotFound as error:
        raise ModelNotFound(
            f"Request for unknown model: {error.message}", hint=error.hint
        ) from error


def read(
    model: ServedModel, request: InferRequest, call: Call
) -> Inputs[tuple[InferRequest, Call]]:
    """The tensors of a request; its option is the request with its call.

    Raises:
        InvalidInput: they do not fit the model.
        TooLarge, Overloaded: they need more memory than there may be, or is now.
        Unsupported: a tensor is in shared memory, or is BF16.
    """
    for wanted in request.outputs:
        check_parameters(wanted.parameters, wanted.name)
    given = request.parameters
    timeout = given["timeout"].int64_param if "timeout" in given else 0
    return Inputs(
        tensors=check_batch(model, bind_only_input(model, read_tensors(request, call))),
        timeout_s=timeout / 1e6 if timeout > 0 else None,
        options=(request, call),
        held_bytes=call.reserved.size,
    )


async def write(
    model: ServedModel, inputs: Inputs[tuple[InferRequest, Call]], outputs: Outputs
) -> bytes:
    """The serialized response. Raises as `write_response`, and as `Call.reserve`."""
    request, call = inputs.options
    size = estimate_response(outputs) * (1 if request.raw_input_contents else 2)
    call.reserve(size)
    return await run_large(size, write_response, model, request, outputs)


INFER = Codec(read, write)


def read_tensors(request: InferRequest, call: Call) -> dict[str, NDArray[np.generic]]:
    """The request's tensors by name.

    Raises `InvalidInput`, `TooLarge` and `Unsupported`, and as `Call.reserve`.
    """
    raw = request.raw_input_contents
    for tensor in request.inputs:
        check_parameters(tensor.parameters, tensor.name)
        check_datatype(tensor.datatype, tensor.name)
        if raw and tensor.HasField("contents"):
            raise InvalidInput(
                "contents field must not be specified when using raw_input_contents for"
                f" {tensor.name!r} for model {request.model_name!r}",
                hint="Send one of the two.",
                field=tensor.name,
            )
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
        if raw:
            if tensor.datatype == "BYTES":
                call.reserve(estimate_elements(len(raw[index]), shape))
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


def estimate_response(outputs: Outputs) -> int:
    """The memory, in bytes, that a response of these takes until it is sent."""
    return sum(
        ELEMENT_BYTES * array.size + 3 * sum(len(value) for value in array.flat)
        if array.dtype.kind in "OSU"
        else 3 * max(array.nbytes, 8 * array.size if array.dtype.kind in "iu" else 0)
        for array in outputs.values()
    )


def write_response(model: ServedModel, request: InferRequest, outputs: Outputs) -> bytes:
    """The serialized response: raw contents, and typed ones too where the request has these.

    The specification has one or the other; to a request with typed contents, KServe answers with
    typed ones and Triton with raw ones, and clients of each read only those.

    Raises `InvalidInput` for unknown outputs.
    """
    wanted = list(request.outputs)
    names = [each.name for each in wanted] or model.default_outputs
    counts = {
        each.name: each.parameters["classification"].int64_param
        for each in wanted
        if "classification" in each.parameters
    }
    raw = bool(request.raw_input_contents)
    head = make_inference(
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
            array = classify_output(model, name, array, counts[name])
        datatype = "BYTES" if array.dtype.kind in "OSU" else DATATYPES[str(array.dtype)]
        shape = list(array.shape)
        tensor = make_inference(
            "ModelInferResponse.InferOutputTensor",
            name=name,
            datatype=datatype,
            shape=shape,
        ).SerializeToString()
        contents = []
        if not raw and datatype in CONTENTS:
            values = write_values("inference.InferTensorContents", CONTENTS[datatype], array)
            contents = write_field(CONTENTS_OF_OUTPUT, *values)
        parts += write_field(OUTPUTS, tensor, *contents)
        raw_parts += write_field(RAW_OUTPUT_CONTENTS, pack_tensor(array))
    return b"".join(parts + raw_parts)
