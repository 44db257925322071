"""The Open Inference Protocol over gRPC: KServe's six calls, Triton's for streams and models."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelpad import __version__
from modelpad.errors import InvalidInput, ModelpadError
from modelpad.server.orders import CLOSE, OPEN
from modelpad.server.protocols.messages import load_message, read_headers
from modelpad.server.protocols.openinference import (
    DATATYPES,
    DTYPES,
    classify,
    list_extensions,
    pack_tensor,
    unpack_tensor,
)
from modelpad.server.protocols.repository import list_entries
from modelpad.server.protocols.tensors import check_batch, count_elements
from modelpad.server.routes import STICKY
from modelpad.server.shadows import ask_with_shadow

if TYPE_CHECKING:
    from modelpad.server.app import App
    from modelpad.server.models import ServedModel

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


def make(kind: str, /, **fields: Any) -> Any:
    """A message of this protocol."""
    return load_message(f"inference.{kind}")(**fields)


class InferenceService:
    """The calls, by the names that they have in the protocol."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def ServerLive(self, request: Any, context: Any) -> Any:
        """The process answers."""
        return make("ServerLiveResponse", live=True)

    async def ServerReady(self, request: Any, context: Any) -> Any:
        """The models are open."""
        return make("ServerReadyResponse", ready=self.app.is_ready)

    async def ModelReady(self, request: Any, context: Any) -> Any:
        """One model is open; an unknown one is simply not ready."""
        try:
            self.app.opened().find(request.name, request.version)
        except ModelpadError:
            return make("ModelReadyResponse", ready=False)
        return make("ModelReadyResponse", ready=self.app.is_ready)

    async def ServerMetadata(self, request: Any, context: Any) -> Any:
        """Name, version and extensions."""
        extensions = list_extensions(admin=bool(self.app.admins))
        return make(
            "ServerMetadataResponse", name="modelpad", version=__version__, extensions=extensions
        )

    async def ModelMetadata(self, request: Any, context: Any) -> Any:
        """A model's tensors."""
        model = await self._find(request.name, request.version, context)
        line = self.app.opened().lines[model.name]

        def describe(infos: Any) -> list[dict[str, Any]]:
            return [
                {"name": i.name, "datatype": DATATYPES[i.dtype], "shape": i.shape} for i in infos
            ]

        return make(
            "ModelMetadataResponse",
            name=model.name,
            versions=[str(version) for version in sorted(line.versions)],
            platform="onnxruntime_onnx",
            inputs=describe(model.inputs),
            outputs=describe(model.outputs),
        )

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        """Inference, with typed contents or raw ones."""
        model = await self._find(request.model_name, request.model_version, context)
        outputs = await ask_with_shadow(self.app, model, lambda each: infer(each, request))
        return write_answer(model, request, outputs)

    async def RepositoryIndex(self, request: Any, context: Any) -> Any:
        """What there is, for admins."""
        entries = await list_entries(self.app, ready=request.ready)
        return make("RepositoryIndexResponse", models=[asdict(each) for each in entries])

    async def RepositoryModelLoad(self, request: Any, context: Any) -> Any:
        """Serves a model, for admins."""
        await self.app.obey(OPEN, request.model_name)
        return make("RepositoryModelLoadResponse")

    async def RepositoryModelUnload(self, request: Any, context: Any) -> Any:
        """Serves a model no more, for admins."""
        await self.app.obey(CLOSE, request.model_name)
        return make("RepositoryModelUnloadResponse")

    async def ModelStreamInfer(
        self, requests: AsyncIterator[Any], context: Any
    ) -> AsyncIterator[Any]:
        """An answer for each request of a stream; an error is told in its place."""
        async for request in requests:
            try:
                answer = await self.ModelInfer(request, context)
                yield make("ModelStreamInferResponse", infer_response=answer)
            except ModelpadError as error:
                yield make("ModelStreamInferResponse", error_message=error.words)

    async def _find(self, name: str, version: str, context: Any) -> ServedModel:
        return await self.app.find(name, version, read_headers(context).get(STICKY))


async def infer(model: ServedModel, request: Any) -> dict[str, NDArray[Any]]:
    """The model's outputs for a request. Raises `InvalidInput`, and as the runner does."""
    arrays = check_batch(model, read_tensors(request))
    given = request.parameters
    timeout = given["timeout"].int64_param if "timeout" in given else 0
    return await model.runner.run(arrays, timeout_s=timeout / 1e6 if timeout > 0 else None)


def read_tensors(request: Any) -> dict[str, NDArray[Any]]:
    """The request's tensors by name. Raises `InvalidInput` when they make no sense."""
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise InvalidInput(
            f"There are {len(request.inputs)} inputs and {len(raw)} raw contents.",
            field="raw_input_contents",
            expected=f"{len(request.inputs)}",
            got=f"{len(raw)}",
        )
    arrays: dict[str, NDArray[Any]] = {}
    for index, tensor in enumerate(request.inputs):
        shape = list(tensor.shape)
        if tensor.datatype not in DTYPES:
            raise InvalidInput(
                f"The input {tensor.name!r} has no datatype that makes sense: {tensor.datatype!r}.",
                field=tensor.name,
                expected=", ".join(DTYPES),
                got=tensor.datatype,
            )
        if raw:
            if tensor.HasField("contents"):
                raise InvalidInput(
                    f"The input {tensor.name!r} has raw contents and typed ones.",
                    hint="Send one of them.",
                    field=tensor.name,
                )
            arrays[tensor.name] = unpack_tensor(raw[index], tensor.datatype, shape, tensor.name)
        else:
            arrays[tensor.name] = _read_contents(tensor, shape)
    return arrays


def _read_contents(tensor: Any, shape: list[int]) -> NDArray[Any]:
    field = CONTENTS.get(tensor.datatype)
    if field is None:
        raise InvalidInput(
            f"{tensor.datatype} goes as raw contents only.", field=tensor.name, expected="raw"
        )
    values = getattr(tensor.contents, field)
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
    wide = np.array(values)
    array = wide.astype(DTYPES[tensor.datatype])
    if tensor.datatype != "BOOL" and wide.size and not np.array_equal(wide, array):
        raise InvalidInput(
            f"The input {tensor.name!r} has numbers outside {tensor.datatype}.",
            field=tensor.name,
            expected=tensor.datatype,
        )
    return array.reshape(shape)


def write_answer(model: ServedModel, request: Any, outputs: dict[str, NDArray[Any]]) -> Any:
    """The answer, raw where the request was raw (or asks for nothing else)."""
    wanted = list(request.outputs)
    names = [each.name for each in wanted] or [info.name for info in model.outputs]
    counts = {
        each.name: each.parameters["classification"].int64_param
        for each in wanted
        if "classification" in each.parameters
    }
    raw = bool(request.raw_input_contents)
    answer = make(
        "ModelInferResponse",
        model_name=model.name,
        model_version=str(model.version),
        id=request.id,
    )
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
        tensor = answer.outputs.add(name=name, datatype=datatype, shape=list(array.shape))
        if raw or datatype not in CONTENTS:
            answer.raw_output_contents.append(pack_tensor(array))
        else:
            values = array.reshape(-1).tolist()
            if datatype == "BYTES":
                values = [v if isinstance(v, bytes) else str(v).encode("utf-8") for v in values]
            getattr(tensor.contents, CONTENTS[datatype]).extend(values)
    return answer
