"""Routes: a method and a path, their handler, and their description for the OpenAPI document.

Knows no particular route: those are in `routes.py` and in the protocols.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

import msgspec

from modelpad.errors import ModelpadError, NotFound
from modelpad.server import errors
from modelpad.server.backend import Backend
from modelpad.server.codec import Codec
from modelpad.server.host import STICKY
from modelpad.server.http.messages import Request, Response, respond_json
from modelpad.server.json_schema import Schema
from modelpad.server.models import ServedModel

Names = Mapping[str, str]
Handler = Callable[[Backend, Request, Names], Awaitable[Response]]
HttpCodec = Codec[Request, bytes, Any, Response]

# Paths come from clients before they are authenticated, so the cache is bounded.
MAX_CACHED_PATHS = 1000
MAX_CACHED_PATH_CHARS = 200
MAX_PATH_CHARS = 8192
MAX_QUOTED_CHARS = 200  # of a path, in an error


class Operation(msgspec.Struct, frozen=True):
    """The OpenAPI description of a route.

    `responses` and `requests` are schemas by content type, `failures` statuses beyond those that
    every such route can have. Success has `status`. An operation that `needs_models` can return
    503. `is_native` is for the native API, which is described once for each model, by its fields.
    `query` are the parameters that must be in the query.
    """

    summary: str
    responses: Mapping[str, Schema]
    requests: Mapping[str, Schema] = {}
    failures: tuple[str, ...] = ()
    needs_models: bool = True
    is_native: bool = False
    status: str = "200"
    query: tuple[str, ...] = ()


class Route(msgspec.Struct, frozen=True):
    """A method, a path with parameters in braces, and a handler.

    `write_error` is how the route's protocol reports an error. Routes that are not `guarded` need
    no API key: the page's own files, health, metrics. Those that `predict` shed load when the
    model's queue is full. `admin` routes need an admin's key.
    """

    method: str
    endpoint: str
    handler: Handler
    operation: Operation
    write_error: Callable[[ModelpadError], Response] = errors.respond_error
    guarded: bool = True
    predicts: bool = False
    admin: bool = False


class RouteGroup(msgspec.Struct, frozen=True):
    """The routes of a protocol, or of a purpose, as the API's description groups them."""

    name: str
    summary: str
    routes: tuple[Route, ...]


Match = tuple[Route, Names]


class RouteTable:
    """Finds the route of a request, with a cache."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._cached: dict[tuple[str, str], Match] = {}

    def find(self, method: str, path: str) -> Match | Response:
        """The route and its path parameters, or the error response."""
        found = self._cached.get((method, path))
        if found is not None:
            return found
        if len(path) > MAX_PATH_CHARS:
            return errors.respond_problem(
                HTTPStatus.REQUEST_URI_TOO_LONG,
                "The path is too long.",
                f"Send at most {MAX_PATH_CHARS:,} characters.",
            )
        return self._search(method, path)

    def _search(self, method: str, path: str) -> Match | Response:
        allowed = set()
        for route in self.routes:
            match = compile_endpoint(route.endpoint).fullmatch(path)
            if match and route.method == method:
                names = match.groupdict()
                if len(path) <= MAX_CACHED_PATH_CHARS:
                    if len(self._cached) >= MAX_CACHED_PATHS:
                        self._cached.clear()
                    self._cached[method, path] = route, names
                return route, names
            if match:
                allowed.add(route.method)
        return _respond_unknown(method, path[:MAX_QUOTED_CHARS], sorted(allowed))


@cache
def compile_endpoint(endpoint: str) -> re.Pattern[str]:
    """The pattern of an endpoint's paths; compiled on first use, as most are never requested."""
    text = re.escape(endpoint).replace(r"\{", "{").replace(r"\}", "}")
    text = text.replace("{path}", "(?P<path>.+)")
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/:]+)", text))


def _respond_unknown(method: str, path: str, allowed: list[str]) -> Response:
    # A client of a tensor protocol reads only that protocol's errors.
    is_tensor_protocol = path.startswith(("/v1/models/", "/v2"))
    if not allowed:
        error = NotFound(
            f"There is nothing at {path}.",
            hint="The page is at /, the API's description at /docs.",
        )
        if is_tensor_protocol:
            return errors.respond_words(error, error.words)
        return errors.respond_error(error)
    words, hint = f"{path} does not accept {method}.", f"Use {' or '.join(allowed)}."
    headers = {"allow": ", ".join(allowed)}
    status = HTTPStatus.METHOD_NOT_ALLOWED
    if is_tensor_protocol:
        return respond_json({"error": f"{words} {hint}"}, status=status, headers=headers)
    return errors.respond_problem(status, words, hint, **headers)


def find_model(backend: Backend, request: Request, names: Names) -> Awaitable[ServedModel]:
    """The model that a request names by its path, its tensors known. Raises as `ModelHost.find`.

    The path names a version as the command line does, `NAME@VERSION`, or in a place of its own.
    """
    key = request.headers.get(STICKY)
    name, version = names.get("model"), names.get("version", "")
    if name is not None and not version and "@" in name:
        name, _, version = name.partition("@")
    return backend.host.find(name, version, key)


def predict_with(codec: HttpCodec) -> Handler:
    """The handler of a route that predicts: `codec` reads the request and writes the response."""

    async def handle(backend: Backend, request: Request, names: Names) -> Response:
        model = await find_model(backend, request, names)
        with model.batcher.hold():  # a version being replaced stays until the body is here
            body = await request.body()
            return await backend.inference.predict(model, codec, request, body)

    return handle


def show_model(describe: Callable[[ServedModel], Response]) -> Handler:
    """The handler of a route that describes a model."""

    async def handle(backend: Backend, request: Request, names: Names) -> Response:
        return describe(await find_model(backend, request, names))

    return handle
