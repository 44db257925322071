"""The server: an ASGI app that joins opened bundles with the page and the protocols.

Names are imported when they are first used: the supervisor of workers needs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelpad.server.app import App
    from modelpad.server.follow import Follower
    from modelpad.server.guard import Guard
    from modelpad.server.http import ServerLimits
    from modelpad.server.models import LoadOptions, ModelTable, ServedModel

__all__ = [
    "App",
    "Follower",
    "Guard",
    "LoadOptions",
    "ModelTable",
    "ServedModel",
    "ServerLimits",
]

_MODULES = {
    "App": "app",
    "Follower": "follow",
    "Guard": "guard",
    "LoadOptions": "models",
    "ModelTable": "models",
    "ServedModel": "models",
    "ServerLimits": "http",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"modelpad.server.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
