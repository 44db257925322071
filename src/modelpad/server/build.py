"""Puts the parts of a server together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from modelpad.server.app import App, HttpOptions
from modelpad.server.backend import Backend
from modelpad.server.routes import ROUTES

if TYPE_CHECKING:
    from modelpad.server.http.messages import ServerLimits
    from modelpad.server.model_table import ModelTable
    from modelpad.server.observability.traces import Traces
    from modelpad.server.security.auth import ApiKeyAuth


def build_app(
    models: ModelTable | None = None,
    limits: ServerLimits | None = None,
    options: HttpOptions | None = None,
    *,
    auth: ApiKeyAuth | None = None,
    admins: Iterable[str] = (),
    traces: Traces | None = None,
) -> App:
    """The HTTP app with all routes; `app.backend` is what a gRPC server needs."""
    backend = Backend.build(models, limits, auth=auth, admins=admins, traces=traces)
    return App(backend, ROUTES, options)
