"""How each error is reported to a client: its HTTP status, its gRPC code, and the body of an error.

Every class of the error tree is listed, so that a new one needs a decision; a test checks it. The
native API and the tensor protocols share the statuses except for invalid input, which the tensor
protocols answer with 400.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import TypeVar

from modelpad import errors
from modelpad.server.http.messages import Response, respond_json

Entry = TypeVar("Entry")
ErrorType = type[errors.ModelpadError]

STATUSES: dict[ErrorType, HTTPStatus] = {
    errors.ModelpadError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.EmptyCanvas: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.ModelNotFound: HTTPStatus.NOT_FOUND,
    errors.VersionNotFound: HTTPStatus.NOT_FOUND,
    errors.DataSetNotFound: HTTPStatus.NOT_FOUND,
    errors.Overloaded: HTTPStatus.TOO_MANY_REQUESTS,
    errors.JobsFull: HTTPStatus.TOO_MANY_REQUESTS,
    errors.RateLimited: HTTPStatus.TOO_MANY_REQUESTS,
    errors.TooManyFailures: HTTPStatus.TOO_MANY_REQUESTS,
    errors.Unauthorized: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.ForeignOrigin: HTTPStatus.FORBIDDEN,
    errors.UnknownHost: HTTPStatus.MISDIRECTED_REQUEST,
    errors.NotReady: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.Unsupported: HTTPStatus.NOT_IMPLEMENTED,
    errors.DeadlineExceeded: HTTPStatus.GATEWAY_TIMEOUT,
    errors.ModelFailed: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.BundleInvalid: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.ChecksumMismatch: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.SignatureInvalid: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.StoreError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.FeedbackFull: HTTPStatus.INSUFFICIENT_STORAGE,
    errors.CollectionFull: HTTPStatus.INSUFFICIENT_STORAGE,
    errors.UploadsFull: HTTPStatus.INSUFFICIENT_STORAGE,
    errors.JobFailed: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.JobConflict: HTTPStatus.CONFLICT,
    errors.DataSetInvalid: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.MissingExtra: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.TrainingFailed: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.ConversionFailed: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.NotTrusted: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.ParityFailed: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.PortInUse: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.UsageError: HTTPStatus.INTERNAL_SERVER_ERROR,
}
TENSOR_STATUSES = STATUSES | {
    errors.InvalidInput: HTTPStatus.BAD_REQUEST,
    errors.EmptyCanvas: HTTPStatus.BAD_REQUEST,
}
# gRPC status codes by name; TooLarge is permanent, so not RESOURCE_EXHAUSTED, which clients retry.
GRPC_CODES: dict[ErrorType, str] = {
    errors.ModelpadError: "INTERNAL",
    errors.InvalidInput: "INVALID_ARGUMENT",
    errors.EmptyCanvas: "INVALID_ARGUMENT",
    errors.TooLarge: "INVALID_ARGUMENT",
    errors.NotFound: "NOT_FOUND",
    errors.ModelNotFound: "NOT_FOUND",
    errors.VersionNotFound: "NOT_FOUND",
    errors.DataSetNotFound: "NOT_FOUND",
    errors.Overloaded: "RESOURCE_EXHAUSTED",
    errors.JobsFull: "RESOURCE_EXHAUSTED",
    errors.RateLimited: "RESOURCE_EXHAUSTED",
    errors.TooManyFailures: "RESOURCE_EXHAUSTED",
    errors.Unauthorized: "UNAUTHENTICATED",
    errors.Forbidden: "PERMISSION_DENIED",
    errors.ForeignOrigin: "PERMISSION_DENIED",
    errors.UnknownHost: "PERMISSION_DENIED",
    errors.NotReady: "UNAVAILABLE",
    errors.Unsupported: "UNIMPLEMENTED",
    errors.DeadlineExceeded: "DEADLINE_EXCEEDED",
    errors.ModelFailed: "INTERNAL",
    errors.BundleInvalid: "INTERNAL",
    errors.ChecksumMismatch: "INTERNAL",
    errors.SignatureInvalid: "INTERNAL",
    errors.StoreError: "INTERNAL",
    errors.FeedbackFull: "RESOURCE_EXHAUSTED",
    errors.CollectionFull: "RESOURCE_EXHAUSTED",
    errors.UploadsFull: "RESOURCE_EXHAUSTED",
    errors.JobFailed: "INTERNAL",
    errors.JobConflict: "FAILED_PRECONDITION",
    errors.DataSetInvalid: "INTERNAL",
    errors.MissingExtra: "INTERNAL",
    errors.TrainingFailed: "INTERNAL",
    errors.ConversionFailed: "INTERNAL",
    errors.NotTrusted: "INTERNAL",
    errors.ParityFailed: "INTERNAL",
    errors.PortInUse: "INTERNAL",
    errors.UsageError: "INTERNAL",
}
# What a client sees of an internal error.
INTERNAL_ERROR = errors.ModelpadError("The server failed on this request.", hint="See its log.")


def _find(table: Mapping[ErrorType, Entry], error: errors.ModelpadError) -> Entry:
    """The entry of the error's class. A class from outside the tree gets its parent's entry."""
    return next(table[kind] for kind in type(error).__mro__ if kind in table)


def status_of(error: errors.ModelpadError) -> HTTPStatus:
    """The HTTP status in the native API."""
    return _find(STATUSES, error)


def tensor_status_of(error: errors.ModelpadError) -> HTTPStatus:
    """The HTTP status in the tensor protocols."""
    return _find(TENSOR_STATUSES, error)


def code_of(error: errors.ModelpadError) -> str:
    """The name of the gRPC status code."""
    return _find(GRPC_CODES, error)


def describe_error(error: errors.ModelpadError) -> dict[str, object]:
    """`{"error": {"message", "hint", "field", "expected", "got", ...}}`."""
    known = {
        name: value
        for name, value in error.details.items()
        if isinstance(value, str | int | float | list | tuple)
    }
    return {"error": {"message": error.message, "hint": error.hint} | known}


def respond_error(error: errors.ModelpadError) -> Response:
    """The native API's error response: `describe_error` with its status."""
    return respond_json(describe_error(error), status=status_of(error), headers=add_headers(error))


def respond_words(error: errors.ModelpadError, words: str) -> Response:
    """The tensor protocols' error response: `{"error": "..."}` with its status."""
    status = tensor_status_of(error)
    return respond_json({"error": words}, status=status, headers=add_headers(error))


def respond_problem(status: HTTPStatus, message: str, hint: str, **headers: str) -> Response:
    """An error of HTTP itself, such as an unknown path or method."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return respond_json({"error": {"message": message, "hint": hint}}, status=status, headers=named)


def add_headers(error: errors.ModelpadError) -> dict[str, str]:
    """The header fields that an error has beside its body."""
    headers = {}
    retry_after_s = error.details.get("retry_after_s")
    if retry_after_s is not None:
        headers["retry-after"] = str(retry_after_s)
    if isinstance(error, errors.Unauthorized | errors.TooManyFailures):
        # RFC 9110, 11.6.1: with any status, it indicates that a key could change the response.
        headers["www-authenticate"] = 'Bearer realm="modelpad"'
    return headers
