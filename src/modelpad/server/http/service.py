"""Shared by all connections of a server: the request handler and the limits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from modelpad.server.budget import ByteBudget
from modelpad.server.http.messages import Request, Response, ServerLimits

Handler = Callable[[Request], Awaitable[Response]]
ShedLoad = Callable[[Request], Response | None]


class Service(msgspec.Struct):
    """Turns requests into responses.

    `shed_load` is called when a request's head is complete and those before it on its connection
    are done. The response it returns is sent without reading the body or calling `handler`, so that
    rejecting a request costs next to nothing. `stopping` is set once, when the server shuts down.
    """

    handler: Handler
    limits: ServerLimits
    budget: ByteBudget
    shed_load: ShedLoad | None = None
    stopping: bool = False
