"""Which HTTP status each error has, and what the typed API's error body looks like."""

from __future__ import annotations

from http import HTTPStatus

from modelpad import errors
from modelpad.server.http import Response, respond_json

# The nearest class in an error's ancestry decides; ModelpadError itself is an internal error.
STATUSES: dict[type[errors.ModelpadError], HTTPStatus] = {
    errors.ModelpadError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Overloaded: HTTPStatus.TOO_MANY_REQUESTS,
    errors.Unauthorized: HTTPStatus.UNAUTHORIZED,
    errors.NotReady: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.DeadlineExceeded: HTTPStatus.GATEWAY_TIMEOUT,
}


def status_of(error: errors.ModelpadError) -> HTTPStatus:
    """The status of the nearest ancestor that has one."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def describe_error(error: errors.ModelpadError) -> dict[str, object]:
    """`{"error": {"message", "hint", "field", "expected", "got", ...}}`."""
    known = {
        name: value
        for name, value in error.details.items()
        if isinstance(value, str | int | float | list | tuple)
    }
    return {"error": {"message": error.message, "hint": error.hint} | known}


def respond_error(error: errors.ModelpadError) -> Response:
    """`describe_error` with its status."""
    headers = {}
    if "retry_after_s" in error.details:
        headers["retry-after"] = str(error.details["retry_after_s"])
    return respond_json(describe_error(error), status=status_of(error), headers=headers)


def respond_problem(status: HTTPStatus, message: str, hint: str, **headers: str) -> Response:
    """An error of HTTP itself, such as a path or a method that does not exist."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return respond_json({"error": {"message": message, "hint": hint}}, status=status, headers=named)
