"""Language models in the Open Inference Protocol over gRPC: a text, whole or in pieces."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from modelpad.errors import InvalidInput
from modelpad.server.models import ServedModel
from modelpad.server.protocols.generate_text import OUTPUT, stream_pieces
from modelpad.server.protocols.protobuf import make_inference

if TYPE_CHECKING:
    from modelpad.engine.text import TextBatcher
    from modelpad.server.protocols.grpc_messages import InferRequest, Message

# Parameters of the protocol itself; others are options of a text.
OWN_PARAMETERS = (
    "timeout",
    "sequence_id",
    "sequence_start",
    "sequence_end",
    "priority",
    "triton_enable_empty_final_response",
)
FINAL = "triton_final_response"


def read_text_record(
    request: InferRequest, tensors: Mapping[str, NDArray[np.generic]]
) -> dict[str, object]:
    """The inputs of a request to a language model, each one string or number, as JSON values.

    `tensors` are the request's own. Its parameters are options of the text too. Raises
    `InvalidInput`.
    """
    record: dict[str, object] = {}
    for name, value in request.parameters.items():
        kind = value.WhichOneof("parameter_choice")
        if kind is not None and name not in OWN_PARAMETERS:
            record[name] = getattr(value, kind)
    for name, array in tensors.items():
        if array.size != 1:
            raise InvalidInput(
                f"The input {name!r} has {array.size} elements.",
                hint="Send one.",
                field=name,
                expected="one element",
                got=f"{array.size}",
            )
        value = array.reshape(-1)[0]
        value = value.item() if isinstance(value, np.generic) else value
        record[name] = read_utf8(value, name) if isinstance(value, bytes) else value
    return record


def read_utf8(value: bytes, name: str) -> str:
    """A string input. Raises `InvalidInput` if it is not UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"The input {name!r} is not UTF-8.", hint="Send UTF-8.", field=name, expected="UTF-8"
        ) from error


async def stream_text(
    model: ServedModel,
    text: TextBatcher,
    request: InferRequest,
    tensors: Mapping[str, NDArray[np.generic]],
) -> AsyncGenerator[Message, None]:
    """A response for each piece of a text; the last is marked. Raises as the engine."""
    async with aclosing(stream_pieces(text, read_text_record(request, tensors))) as pieces:
        async for piece in pieces:
            response = write_text(model, request, piece.text, piece.finish_reason is not None)
            yield make_inference("ModelStreamInferResponse", infer_response=response)


def write_text(model: ServedModel, request: InferRequest, text: str, final: bool = True) -> Message:
    """A response with a piece of text, by the name that Triton's vLLM backend has for it."""
    names = {each.name for each in request.inputs}
    own = model.inputs[0].name in names
    content = text.encode()
    return make_inference(
        "ModelInferResponse",
        model_name=model.name,
        model_version=str(model.version),
        id=request.id,
        parameters={FINAL: make_inference("InferParameter", bool_param=final)},
        outputs=[
            make_inference(
                "ModelInferResponse.InferOutputTensor",
                name=model.outputs[0].name if own else OUTPUT,
                datatype="BYTES",
                shape=[1],
            )
        ],
        raw_output_contents=[len(content).to_bytes(4, "little") + content],
    )
