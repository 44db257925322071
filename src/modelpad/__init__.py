"""modelpad: your trained model, live in one command.

    import modelpad
    modelpad.save(model, "digits", inputs="sketch:28x28")

Importing this package loads nothing else; import the subpackages that you need
(`modelpad.bundle`, `modelpad.store`, `modelpad.engine`, ...).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelpad.api import save as save
    from modelpad.client import AsyncClient as AsyncClient
    from modelpad.client import Client as Client

__version__ = "0.1.0"
__all__ = ["AsyncClient", "Client", "__version__", "save"]


def __getattr__(name: str) -> Any:
    if name == "save":
        from modelpad.api import save

        return save
    if name in ("AsyncClient", "Client"):
        from modelpad import client

        return getattr(client, name)
    raise AttributeError(f"module 'modelpad' has no attribute {name!r}")
