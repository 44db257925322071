"""Puts the parts of a server together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from modelpad.server.app import App, HttpOptions
from modelpad.server.backend import Backend
from modelpad.server.budget import ByteBudget
from modelpad.server.host import ModelHost
from modelpad.server.http.messages import ServerLimits
from modelpad.server.inference import Inference
from modelpad.server.routes import ROUTES
from modelpad.server.security.access import AccessControl

if TYPE_CHECKING:
    from modelpad.server.collector import FeedbackCollector
    from modelpad.server.model_table import ModelTable
    from modelpad.server.observability.traces import Traces
    from modelpad.server.security.auth import ApiKeyAuth
    from modelpad.server.studio import Studio


def build_app(
    models: ModelTable | None = None,
    limits: ServerLimits | None = None,
    options: HttpOptions | None = None,
    *,
    auth: ApiKeyAuth | None = None,
    admins: Iterable[str] = (),
    traces: Traces | None = None,
    feedback: FeedbackCollector | None = None,
    studio: Studio | None = None,
) -> App:
    """The HTTP app with all routes; `app.backend` is what a gRPC server needs.

    Without `models` it is not ready until they are set.
    """
    limits = limits or ServerLimits()
    budget = ByteBudget(limits.inflight_bytes)
    host = ModelHost(models, traces)
    host.studio = studio
    access = AccessControl(host.metrics, auth, admins)
    backend = Backend(host, Inference(host, budget), access, limits, budget, feedback, studio)
    return App(backend, ROUTES, options)
