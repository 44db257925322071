"""Errors as OpenAI's clients read them: an object with message, type, param and code."""

from __future__ import annotations

from http import HTTPStatus

from modelpad import errors
from modelpad.errors import ModelpadError
from modelpad.server.errors import add_headers, tensor_status_of
from modelpad.server.http.messages import Response, respond_json

TYPES = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
}
CODES: dict[type[ModelpadError], str] = {
    errors.ModelNotFound: "model_not_found",
    errors.VersionNotFound: "model_not_found",
    errors.RateLimited: "rate_limit_exceeded",
    errors.Overloaded: "server_overloaded",
    errors.Unauthorized: "invalid_api_key",
    errors.DeadlineExceeded: "timeout",
    errors.TooLarge: "context_length_exceeded",
}


def describe_error(error: ModelpadError) -> dict[str, object]:
    """`{"error": {"message", "type", "param", "code"}}`."""
    status = _find_status(error)
    default = (
        "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
    )
    code = next((code for kind, code in CODES.items() if isinstance(error, kind)), None)
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        code = "request_too_large"
    field = error.details.get("field")
    return {
        "error": {
            "message": error.words,
            "type": TYPES.get(status, default),
            "param": field if isinstance(field, str) else None,
            "code": code,
        }
    }


def write_error(error: ModelpadError) -> Response:
    """The response for an error."""
    return respond_json(
        describe_error(error), status=_find_status(error), headers=add_headers(error)
    )


def _find_status(error: ModelpadError) -> HTTPStatus:
    """A text that is too long is a wrong request, as in OpenAI's API; a body is too large."""
    if isinstance(error, errors.TooLarge) and error.details.get("field"):
        return HTTPStatus.BAD_REQUEST
    return tensor_status_of(error)
