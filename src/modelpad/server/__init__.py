"""The server: HTTP and gRPC in front of loaded models, with the page and the protocols.

Names are imported on first use: the supervisor of workers needs next to none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelpad.server.app import App, HttpOptions
    from modelpad.server.build import build_app
    from modelpad.server.http.messages import ServerLimits
    from modelpad.server.lifecycle.reconciler import Reconciler
    from modelpad.server.model_table import ModelTable
    from modelpad.server.models import LoadOptions, ServedModel
    from modelpad.server.security.auth import ApiKeyAuth

__all__ = [
    "ApiKeyAuth",
    "App",
    "HttpOptions",
    "LoadOptions",
    "ModelTable",
    "Reconciler",
    "ServedModel",
    "ServerLimits",
    "build_app",
]

_MODULES = {
    "ApiKeyAuth": "security.auth",
    "App": "app",
    "HttpOptions": "app",
    "LoadOptions": "models",
    "ModelTable": "model_table",
    "Reconciler": "lifecycle.reconciler",
    "ServedModel": "models",
    "ServerLimits": "http.messages",
    "build_app": "build",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"modelpad.server.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
