"""`POST /feedback/{model}`: whether a prediction was right, and `DELETE` to undo it.

Only servers with `--feedback` take any. The body is JSON, or a form with the inputs' files.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from modelpad.errors import InvalidInput, NotFound
from modelpad.feedback import MAX_NOTE_CHARS, find_label
from modelpad.fields import Label, Signature
from modelpad.server.backend import Backend
from modelpad.server.collector import FeedbackCollector, Submission
from modelpad.server.http.messages import JSON, Request, Response, read_count, respond_json
from modelpad.server.json_schema import TEXT, Schema, make_object
from modelpad.server.protocols.forms import FORM, read_form
from modelpad.server.protocols.native_items import name_values
from modelpad.server.routing import Names, Operation, Route, find_model

TOKEN = "x-modelpad-token"
FACTS = ("prediction", "correct", "version", "note")
MAX_LISTED = 100  # classes, in an error
MAX_VERSION_DIGITS = 9


async def take_feedback(backend: Backend, request: Request, names: Names) -> Response:
    """`POST /feedback/{model}`: stores an input with the predicted and the right label.

    Raises what the fields raise, `InvalidInput`, and `NotFound` without `--feedback`.
    """
    collector = require_collector(backend)
    model = await find_model(backend, request, names)
    with model.batcher.hold():  # a version being replaced stays until the input is decoded
        body = await request.body()
        submission = read_submission(request, body, model.typed.signature, model.version)
        receipt = await collector.add(model, submission)
    is_right = submission.label == submission.predicted
    backend.host.metrics.count_feedback(is_right, model=model.name, version=submission.version)
    answer = {
        "id": receipt.id,
        "token": receipt.token,
        "model": model.name,
        "label": submission.label,
        "replaced": receipt.replaced,
    }
    return respond_json(answer, status=HTTPStatus.CREATED)


async def undo_feedback(backend: Backend, request: Request, names: Names) -> Response:
    """`DELETE /feedback/{model}/{id}`: deletes it, for whoever has its token.

    Raises `NotFound`, also for a wrong token.
    """
    await require_collector(backend).undo(names["id"], request.headers.get(TOKEN, ""))
    return respond_json({"deleted": names["id"]})


def require_collector(backend: Backend) -> FeedbackCollector:
    """The collector. Raises `NotFound` if this server collects no feedback."""
    if backend.feedback is None:
        raise NotFound(
            "This server collects no feedback.", hint="Start it with: modelpad serve --feedback DIR"
        )
    return backend.feedback


def read_submission(
    request: Request, body: bytes, signature: Signature, version: int
) -> Submission:
    """What a body says about a prediction; `version` is the default.

    Raises `InvalidInput` for a model without one label, an unknown label, and a malformed body.
    """
    label = find_label(signature)
    if request.content_type == FORM:
        record = _read_form(request, body, signature, label)
    else:
        record = _read_json(request, body, signature)
    predicted = _choose_class(label, "prediction", record.get("prediction"))
    correct = record.get("correct")
    return Submission(
        record["inputs"],  # type: ignore[arg-type]
        predicted,
        predicted if correct is True else _choose_class(label, "correct", correct),
        _choose_version(record.get("version", version)),
        _choose_note(record.get("note", "")),
    )


def _read_json(request: Request, body: bytes, signature: Signature) -> dict[str, object]:
    record = request.parse_json(body)
    known = ("inputs", *FACTS)
    if not isinstance(record, dict) or not {"inputs"} <= {*record} <= {*known}:
        got = ", ".join(record)[:100] if isinstance(record, dict) else type(record).__name__
        raise InvalidInput(
            f"Feedback is an object of inputs, prediction and correct, not: {got}.",
            hint='For example: {"inputs": {...}, "prediction": "cat", "correct": "dog"}',
            expected=", ".join(known),
            got=got,
        )
    return record | {"inputs": name_values(record["inputs"], signature)}


def _read_form(
    request: Request, body: bytes, signature: Signature, label: Label
) -> dict[str, object]:
    taken = [each.name for each in signature.inputs if each.name in FACTS]
    if taken:
        raise InvalidInput(
            f"A form cannot tell the input {taken[0]!r} from the part of that name.",
            hint="Send JSON.",
            expected=JSON,
            got=FORM,
        )
    values = read_form(request, body)
    record = {name: values.pop(name) for name in FACTS if name in values}
    if record.get("correct") == "true" and "true" not in label.classes:
        record["correct"] = True
    return record | {"inputs": values}


def _choose_class(label: Label, name: str, value: object) -> str:
    if isinstance(value, str) and value in label.classes:
        return value
    listed = [*label.classes[:MAX_LISTED]]
    words = ", ".join(listed[:12]) + (", ..." if len(label.classes) > 12 else "")
    raise InvalidInput(
        f"{name!r} is not one of the model's labels.",
        hint=f"Labels: {words}.",
        field=name,
        expected="true or a label" if name == "correct" else "a label",
        got=repr(value)[:60],
        known=listed,
    )


def _choose_version(value: object) -> int:
    number = read_count(value) if isinstance(value, str) else value
    if type(number) is int and 0 < number < 10**MAX_VERSION_DIGITS:
        return number
    raise InvalidInput(
        "'version' is not a version.",
        hint="Send the number that came with the prediction.",
        field="version",
        expected="a whole number from 1",
        got=repr(value)[:60],
    )


def _choose_note(value: object) -> str:
    if isinstance(value, str) and len(value) <= MAX_NOTE_CHARS:
        return value
    raise InvalidInput(
        "'note' is not a short text.",
        hint=f"Send at most {MAX_NOTE_CHARS} characters.",
        field="note",
        expected=f"text of at most {MAX_NOTE_CHARS} characters",
        got=f"{len(value)} characters" if isinstance(value, str) else type(value).__name__,
    )


REQUEST: Mapping[str, Schema] = {
    JSON: make_object(
        {
            "inputs": {"description": "as for /predict: values by name, or the only input's value"},
            "prediction": {"type": "string", "description": "the label that was predicted"},
            "correct": {"description": "true, or the right label"},
        },
        version={"type": "integer", "minimum": 1, "maximum": 10**MAX_VERSION_DIGITS - 1},
        note={"type": "string", "maxLength": MAX_NOTE_CHARS},
    )
}
STORED = make_object(
    {"id": TEXT, "token": TEXT, "model": TEXT, "label": TEXT, "replaced": {"type": "boolean"}}
)
TAKE = Operation(
    "Whether a prediction was right; only with --feedback",
    {JSON: STORED},
    REQUEST,
    failures=("422", "507"),
    status="201",
)
UNDO = Operation(
    f"Undo a correction, with its token in the header {TOKEN}",
    {JSON: make_object({"deleted": TEXT})},
    failures=("404",),
    needs_models=False,
)
ROUTES = (
    Route("POST", "/feedback/{model}", take_feedback, TAKE),
    Route("DELETE", "/feedback/{model}/{id}", undo_feedback, UNDO),
)
