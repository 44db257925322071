"""Reads the body of `POST /feedback/{model}`: JSON, or a form with the inputs' files."""

from __future__ import annotations

from modelpad.errors import InvalidInput
from modelpad.feedback import find_label
from modelpad.fields import Label, Signature
from modelpad.server.collector import Submission
from modelpad.server.http.messages import JSON, Request, read_count
from modelpad.server.protocols.forms import FORM, read_form
from modelpad.server.protocols.native_items import name_values
from modelpad.server.schemas import MAX_NOTE_CHARS, MAX_VERSION

FACTS = ("prediction", "correct", "version", "note")
MAX_LISTED = 100  # classes, in an error


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
    if type(number) is int and 0 < number <= MAX_VERSION:
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
