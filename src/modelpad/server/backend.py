"""What the HTTP app and the gRPC server share: models, inference, access, limits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from modelpad.server.budget import ByteBudget
from modelpad.server.host import ModelHost
from modelpad.server.http.messages import ServerLimits
from modelpad.server.inference import Inference
from modelpad.server.security.access import AccessControl

if TYPE_CHECKING:
    from modelpad.server.model_table import ModelTable
    from modelpad.server.observability.traces import Traces
    from modelpad.server.security.auth import ApiKeyAuth


class Backend(msgspec.Struct, frozen=True):
    """One of each; `budget` bounds the bytes of all requests in flight."""

    host: ModelHost
    inference: Inference
    access: AccessControl
    limits: ServerLimits
    budget: ByteBudget

    @classmethod
    def build(
        cls,
        models: ModelTable | None = None,
        limits: ServerLimits | None = None,
        *,
        auth: ApiKeyAuth | None = None,
        admins: Iterable[str] = (),
        traces: Traces | None = None,
    ) -> Backend:
        """A backend for these models; without `models` it is not ready until they are set."""
        limits = limits or ServerLimits()
        budget = ByteBudget(limits.inflight_bytes)
        host = ModelHost(models, traces)
        access = AccessControl(host.metrics, auth, admins)
        return cls(host, Inference(host, budget), access, limits, budget)
