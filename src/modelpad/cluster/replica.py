"""The app of one replica: the models, followed in the store as by a server of one process."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from modelpad.engine import share_arenas

if TYPE_CHECKING:
    from modelpad.server.app import App
    from modelpad.server.options import ServeOptions

log = logging.getLogger("modelpad.cluster")


def build_replica(options: ServeOptions) -> App:
    """The app with its models loaded, in the process that serves it.

    Raises as `assemble_process`: then Ray starts no replica, and an update leaves the old ones.
    """
    from modelpad.server.assembly import assemble_process, build_auth_alone

    share_arenas()
    return assemble_process(options, build_auth_alone(options.security), log.info)
