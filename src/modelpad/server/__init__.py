"""The server: an ASGI app that joins opened bundles with the page and the protocols."""

from modelpad.server.app import App
from modelpad.server.follow import Follower
from modelpad.server.guard import Guard
from modelpad.server.http import ServerLimits
from modelpad.server.models import LoadOptions, ModelTable, ServedModel

__all__ = ["App", "Follower", "Guard", "LoadOptions", "ModelTable", "ServedModel", "ServerLimits"]
