"""What the HTTP app and the gRPC server share: models, inference, access, limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from modelpad.server.budget import ByteBudget
from modelpad.server.host import ModelHost
from modelpad.server.http.messages import ServerLimits
from modelpad.server.inference import Inference
from modelpad.server.security.access import AccessControl

if TYPE_CHECKING:
    from modelpad.server.collector import FeedbackCollector
    from modelpad.server.studio import Studio


class Backend(msgspec.Struct, frozen=True):
    """One of each; `budget` bounds the bytes of all requests in flight.

    There is no `feedback` and no `studio` unless the operator asks for them.
    """

    host: ModelHost
    inference: Inference
    access: AccessControl
    limits: ServerLimits
    budget: ByteBudget
    feedback: FeedbackCollector | None = None
    studio: Studio | None = None
