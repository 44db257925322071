"""The server: an ASGI app that joins opened bundles with the page and the protocols.

Names are imported when they are first used: the supervisor of workers needs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelpad.server.app import App
    from modelpad.server.http.messages import ServerLimits
    from modelpad.server.lifecycle.reconciler import Reconciler
    from modelpad.server.models import LoadOptions, ModelTable, ServedModel
    from modelpad.server.security.auth import ApiKeyAuth

__all__ = [
    "ApiKeyAuth",
    "App",
    "LoadOptions",
    "ModelTable",
    "Reconciler",
    "ServedModel",
    "ServerLimits",
]

_MODULES = {
    "App": "app",
    "Reconciler": "lifecycle.reconciler",
    "ApiKeyAuth": "security.auth",
    "LoadOptions": "models",
    "ModelTable": "models",
    "ServedModel": "models",
    "ServerLimits": "http.messages",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"modelpad.server.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
