"""`POST /feedback/{model}`: whether a prediction was right, and `DELETE` to undo it.

Only servers with `--feedback` take any. The body is JSON, or a form with the inputs' files.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from modelpad.errors import NotFound
from modelpad.server.backend import Backend
from modelpad.server.http.messages import JSON, Request, Response, respond_json
from modelpad.server.json_schema import TEXT, make_object, refer
from modelpad.server.routing import Names, Operation, Route, find_model

if TYPE_CHECKING:
    from modelpad.server.collector import FeedbackCollector

TOKEN = "x-modelpad-token"


async def take_feedback(backend: Backend, request: Request, names: Names) -> Response:
    """`POST /feedback/{model}`: stores an input with the predicted and the right label.

    Raises what the fields raise, `InvalidInput`, and `NotFound` without `--feedback`.
    """
    from modelpad.server.protocols.feedback_body import read_submission  # not of the cold start

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


TAKE = Operation(
    "Whether a prediction was right; only with --feedback",
    {JSON: refer("FeedbackStored")},
    {JSON: refer("FeedbackRequest")},
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
