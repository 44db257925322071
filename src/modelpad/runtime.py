"""The one place that imports ONNX Runtime.

Its Linux wheels since 1.29 report usage by default: they create
`~/.cache/Microsoft/DeveloperTools/.onnxruntime` as soon as they are imported, and look up a
telemetry host some seconds later. `ORT_DISABLE_TELEMETRY` prevents both, but only when it is set
before the library is loaded; `onnxruntime.disable_telemetry_events()` comes too late for either.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

TELEMETRY_VARIABLE = "ORT_DISABLE_TELEMETRY"


def disable_telemetry() -> None:
    """Keeps ONNX Runtime silent in this process and its children, if it is not loaded yet.

    Call it before anything that may import ONNX Runtime on its own, such as PyTorch's exporter. A
    value that is already set is kept, except an empty one.
    """
    if not os.environ.get(TELEMETRY_VARIABLE):
        os.environ[TELEMETRY_VARIABLE] = "1"


def load_onnxruntime(submodule: str = "") -> Any:
    """The `onnxruntime` package or one of its submodules, imported with telemetry disabled."""
    disable_telemetry()
    return import_module(f"onnxruntime.{submodule}" if submodule else "onnxruntime")
