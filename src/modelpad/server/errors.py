"""Which HTTP status each error has, and what the typed API's error body looks like."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import TypeVar

from modelpad import errors
from modelpad.server.http.messages import Response, respond_json

Told = TypeVar("Told")

# The nearest class in an error's ancestry decides; ModelpadError itself is an internal error.
STATUSES: dict[type[errors.ModelpadError], HTTPStatus] = {
    errors.ModelpadError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Overloaded: HTTPStatus.TOO_MANY_REQUESTS,
    errors.Unauthorized: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.UnknownHost: HTTPStatus.MISDIRECTED_REQUEST,
    errors.NotReady: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.DeadlineExceeded: HTTPStatus.GATEWAY_TIMEOUT,
}
# What a client hears of a defect of ours.
FAILED = errors.ModelpadError("The server failed on this request.", hint="Its log says why.")


def find_nearest(
    table: Mapping[type[errors.ModelpadError], Told], error: errors.ModelpadError
) -> Told:
    """What `table` says of the error's nearest ancestor; it must know `ModelpadError`."""
    return next(table[kind] for kind in type(error).__mro__ if kind in table)


def status_of(error: errors.ModelpadError) -> HTTPStatus:
    """The status of the nearest ancestor that has one."""
    return find_nearest(STATUSES, error)


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
    return respond_json(describe_error(error), status=status_of(error), headers=_add_headers(error))


def respond_words(error: errors.ModelpadError, words: str) -> Response:
    """`{"error": "..."}`, as the tensor protocols tell it: a wrong input is 400 there."""
    status = status_of(error)
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        status = HTTPStatus.BAD_REQUEST
    return respond_json({"error": words}, status=status, headers=_add_headers(error))


def respond_problem(status: HTTPStatus, message: str, hint: str, **headers: str) -> Response:
    """An error of HTTP itself, such as a path or a method that does not exist."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return respond_json({"error": {"message": message, "hint": hint}}, status=status, headers=named)


def _add_headers(error: errors.ModelpadError) -> dict[str, str]:
    headers = {}
    retry_after_s = error.details.get("retry_after_s")
    if retry_after_s is not None:
        headers["retry-after"] = str(retry_after_s)
    if isinstance(error, errors.Unauthorized | errors.TooManyFailures):
        # RFC 9110, 11.6.1: with any status, it says that a key would change the response.
        headers["www-authenticate"] = 'Bearer realm="modelpad"'
    return headers
