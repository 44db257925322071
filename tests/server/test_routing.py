"""Routes are found by method and path, once for each request."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from modelpad.bundle import Bundle
from modelpad.engine import QueueLimits
from modelpad.server import LoadOptions, ModelTable, ServedModel, build_app
from modelpad.server.backend import Backend
from modelpad.server.budget import Reservation
from modelpad.server.http.messages import Request, Response, respond_json
from modelpad.server.routing import (
    MAX_CACHED_PATHS,
    MAX_PATH_CHARS,
    Names,
    Operation,
    Route,
    RouteTable,
)


async def handle(backend: Backend, request: Request, names: Names) -> Response:
    return respond_json(dict(names))


OPERATION = Operation("test", {})
ROUTES = (
    Route("GET", "/things/{thing}", handle, OPERATION),
    Route("POST", "/things/{thing}", handle, OPERATION),
    Route("GET", "/files/{path}", handle, OPERATION),
)


def find(method: str, path: str) -> tuple[Route, Names]:
    found = RouteTable(ROUTES).find(method, path)
    assert isinstance(found, tuple)
    return found


def test_parts_of_a_path_are_named() -> None:
    assert find("POST", "/things/one") == (ROUTES[1], {"thing": "one"})
    assert find("GET", "/files/a/b.png") == (ROUTES[2], {"path": "a/b.png"})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/things/one/two", 404),
        ("DELETE", "/things/one", 405),
        ("GET", "/v2/nothing", 404),
        ("GET", "/" + "x" * MAX_PATH_CHARS, 414),
    ],
)
def test_what_there_is_not_has_a_response(method: str, path: str, status: int) -> None:
    found = RouteTable(ROUTES).find(method, path)
    assert isinstance(found, Response)
    assert found.status == status
    assert found.headers.get("allow") == ("GET, POST" if status == 405 else None)


def test_paths_are_cached_up_to_a_bound() -> None:
    table = RouteTable(ROUTES)
    for number in range(MAX_CACHED_PATHS + 10):
        table.find("GET", f"/things/{number}")
    assert len(table._cached) <= MAX_CACHED_PATHS
    assert table.find("GET", "/things/5") == (ROUTES[0], {"thing": "5"})


def test_a_route_is_looked_up_once_for_each_request() -> None:
    looked_up: Counter[str] = Counter()

    class Counted(RouteTable):
        def find(self, method: str, path: str) -> tuple[Route, Names] | Response:
            looked_up[path] += 1
            return super().find(method, path)

    app = build_app(ModelTable([]))
    app.routes = Counted(app.routes.routes)
    backend = app.backend

    async def read() -> tuple[bytes, bool]:
        return b"", False

    async def go() -> None:
        for path in ("/healthz", "/nothing", "/predict/digits"):
            held = Reservation(backend.budget)
            request = Request("POST", path, b"", {}, read, backend.limits, held)
            assert app.shed_load(request) is None
            await app.respond(request)

    asyncio.run(go())
    assert looked_up == {"/healthz": 1, "/nothing": 1, "/predict/digits": 1}


def test_a_burst_is_shed_beyond_the_queue_although_no_task_has_started(digits: Bundle) -> None:
    load = LoadOptions(QueueLimits(max_length=2), batch=1)
    models = ModelTable([ServedModel.load("digits", 1, digits, load)])
    app = build_app(models)

    async def read() -> tuple[bytes, bool]:
        raise AssertionError("no body is read")

    def shed() -> Response | None:
        held = Reservation(app.backend.budget)
        request = Request("POST", "/predict/digits", b"", {}, read, app.backend.limits, held)
        return app.shed_load(request)

    async def go() -> None:
        answers = [shed() for _ in range(4)]
        assert [answer and answer.status for answer in answers] == [None, None, 429, 429]
        await asyncio.sleep(0)  # the tasks of both would be queued now
        assert shed() is None

    asyncio.run(go())
    models.close()
