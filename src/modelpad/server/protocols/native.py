"""The native API: `POST /predict/{model}` with whatever is handy.

JSON (`{"image": "data:..."}` or a bare string), a multipart form, a raw `image/*`, `audio/*` or
`text/plain` body, or a `data:` URL. The response is typed JSON, the same for each of these, or a
picture's file (`native_pictures`). Lists and JSON lines are in `native_items`, tables in
`native_csv`.
"""

from __future__ import annotations

from modelpad.errors import InvalidInput
from modelpad.fields import Signature
from modelpad.fields.picture_format import PictureFormat
from modelpad.server.backend import Backend
from modelpad.server.codec import Codec, Inputs, Outputs
from modelpad.server.http.json_stream import holds_array, respond_stream
from modelpad.server.http.messages import JSON, Request, Response, respond_json
from modelpad.server.inference import Inference
from modelpad.server.models import ServedModel
from modelpad.server.protocols.forms import FORM, read_form
from modelpad.server.protocols.native_animations import respond_animation
from modelpad.server.protocols.native_csv import CSV, predict_csv
from modelpad.server.protocols.native_items import (
    JSON_LINES,
    name_values,
    only_input,
    predict_lines,
    predict_list,
    write_outputs,
)
from modelpad.server.protocols.native_pictures import choose_format, respond_picture
from modelpad.server.protocols.number_rows import parse_arrays
from modelpad.server.routing import Names, Operation, Route, find_model

BINARY = "application/octet-stream"
URLENCODED = "application/x-www-form-urlencoded"
EXPECTED = "JSON, CSV, a multipart form, a raw image, sound or text body, or a data: URL"
FILES = ("sketch", "image", "audio")  # kinds


async def predict(backend: Backend, request: Request, names: Names) -> Response:
    """`POST /predict`, `POST /predict/{model}`: one prediction, or many.

    Raises what the fields, the batcher and the session raise; among many, each has its own error.
    """
    model = await find_model(backend, request, names)
    inference = backend.inference
    kind = request.content_type
    if kind in JSON_LINES:
        return predict_lines(inference, model, request)
    if kind == CSV:
        return await predict_csv(inference, model, request, backend.limits.body_bytes)
    with model.batcher.hold():  # a version being replaced stays until the body is here
        body = await request.body()
        if kind == JSON and body.lstrip()[:1] == b"[":
            items = request.parse_json(body)
            if isinstance(items, list) and items and isinstance(items[0], dict):
                return await predict_list(inference, model, items, request.reservation)
        request.stops_with_client = model.text is not None
        if model.bundle.manifest.signature.repainted is not None:
            return await paint(inference, model, request, body)
        return await inference.predict(model, NATIVE, request, body)


async def paint(
    inference: Inference, model: ServedModel, request: Request, body: bytes
) -> Response:
    """A painted picture, or each frame of an animation."""
    inputs = read(model, request, body)
    wanted, values = inputs.options, inputs.values or {}
    if wanted is not None and wanted.animates:
        animated = await respond_animation(inference, model, request, values, wanted)
        if animated is not None:
            return animated
    return await inference.predict(model, PAINT, inputs)


async def predict_query(backend: Backend, request: Request, names: Names) -> Response:
    """`GET /predict/{model}`: one prediction; the query has the values. Raises as `predict`."""
    model = await find_model(backend, request, names)
    request.stops_with_client = model.text is not None
    return await backend.inference.predict(model, QUERY, request)


def read_query(model: ServedModel, request: Request) -> Inputs[PictureFormat | None]:
    """The values in the query. Raises `InvalidInput` if there are none."""
    values: dict[str, object] = {**request.query()}
    if not values:
        fields = ", ".join(field.name for field in model.bundle.manifest.signature.inputs)
        raise InvalidInput(
            "The query is empty.",
            hint=f"Send ?{fields}=..., or send the input with POST.",
            expected=fields,
            got="an empty query",
        )
    return Inputs(values=values, options=None)


def read(model: ServedModel, request: Request, body: bytes) -> Inputs[PictureFormat | None]:
    """One item's values. Raises as `read_values` and `choose_format`."""
    signature = model.bundle.manifest.signature
    values = read_values(request, body, signature)
    if model.text is not None and request.query_string:
        values = {**request.query(), **values}  # such as ?words=50 beside a plain text
    wanted = choose_format(request, values, signature)
    return Inputs(values=values, options=wanted, held_bytes=request.reservation.size)


async def write(
    model: ServedModel, inputs: Inputs[PictureFormat | None], outputs: Outputs
) -> Response:
    """The response: a picture's file, or JSON, in which large arrays are written in pieces."""
    if inputs.options is not None:
        return await respond_picture(model, outputs, inputs.options)
    record = {"model": model.name, "version": model.version} | await write_outputs(model, outputs)
    return respond_stream(record, outputs) if holds_array(record) else respond_json(record)


def keep(model: ServedModel, inputs: Inputs[PictureFormat | None]) -> Inputs[PictureFormat | None]:
    """Inputs that were read before."""
    return inputs


NATIVE = Codec(read, write)
PAINT = Codec(keep, write)
QUERY = Codec(read_query, write)


def read_values(request: Request, body: bytes, signature: Signature) -> dict[str, object]:
    """The values of the input fields by name, not decoded yet.

    Raises:
        InvalidInput: the body does not match its content type, or the type is not supported.
    """
    kind = request.content_type
    if kind == FORM:
        return read_form(request, body)
    if kind == JSON or kind.endswith("+json"):
        if all(field.kind == "tensor" for field in signature.inputs):
            return name_values(parse_arrays(request, body), signature)
        return name_values(request.parse_json(body), signature)
    if kind.startswith(("image/", "audio/", "text/")) or kind in (BINARY, "", URLENCODED):
        return _read_raw(request, kind, body, signature)
    raise InvalidInput(
        f"Unsupported Content-Type: {kind!r}.",
        hint="Set content-type to application/json, multipart/form-data, image/png, audio/wav,"
        " text/plain or text/csv.",
        expected=EXPECTED,
        got=kind,
    )


def _read_raw(request: Request, kind: str, body: bytes, signature: Signature) -> dict[str, object]:
    # curl --data-binary without a header says "urlencoded": look at the body instead.
    guess = kind in ("", URLENCODED, BINARY)
    if guess and body[:1] in (b"{", b"["):
        return name_values(request.parse_json(body), signature)
    only = only_input(signature)
    if guess and not body:
        raise InvalidInput(
            "The body is empty (0 bytes).", hint="Send an input.", expected=EXPECTED, got="0 bytes"
        )
    if body[:5].lower() == b"data:" and only.kind in FILES:
        return {only.name: body.decode("ascii", "replace")}
    return {only.name: body}


PREDICT = Operation("One prediction", {}, is_native=True)
PREDICT_QUERY = Operation(
    "One prediction, with the values in the query",
    {JSON: {"type": "object"}},
    failures=("404", "413", "422", "429", "500", "504"),
)
ROUTES = (
    Route("POST", "/predict/{model}", predict, PREDICT, predicts=True),
    Route("GET", "/predict/{model}", predict_query, PREDICT_QUERY, predicts=True),
    Route("POST", "/predict", predict, PREDICT, predicts=True),
    Route("POST", "/invocations", predict, PREDICT, predicts=True),
)
