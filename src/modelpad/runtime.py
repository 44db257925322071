"""The only module that imports ONNX Runtime, and the types of the parts of it that we use.

Its Linux wheels since 1.29 report usage by default: they create
`~/.cache/Microsoft/DeveloperTools/.onnxruntime` on import and resolve a telemetry host some seconds
later. `ORT_DISABLE_TELEMETRY` prevents both, but only if it is set before the library is loaded;
`onnxruntime.disable_telemetry_events()` is too late for either.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.generic]

TELEMETRY_VARIABLE = "ORT_DISABLE_TELEMETRY"


class GraphValue(Protocol):
    """An input or output of a loaded graph (`onnxruntime.NodeArg`)."""

    @property
    def name(self) -> str: ...

    @property
    def type(self) -> str:
        """For example `tensor(float)`."""

    @property
    def shape(self) -> Sequence[int | str | None]:
        """A string or None for a side that is free."""


class RunOptions(Protocol):
    """Options of one run (`onnxruntime.RunOptions`)."""

    terminate: bool


class InferenceSession(Protocol):
    """A loaded graph (`onnxruntime.InferenceSession`)."""

    def get_inputs(self) -> Sequence[GraphValue]: ...

    def get_outputs(self) -> Sequence[GraphValue]: ...

    def run(
        self,
        output_names: Sequence[str],
        input_feed: Mapping[str, Array],
        run_options: RunOptions | None = None,
    ) -> list[Array]: ...


def disable_telemetry() -> None:
    """Disables ONNX Runtime's telemetry in this process and its children.

    Call it before anything that may import ONNX Runtime itself, such as PyTorch's exporter. An
    existing non-empty value of the variable is kept.
    """
    if not os.environ.get(TELEMETRY_VARIABLE):
        os.environ[TELEMETRY_VARIABLE] = "1"


def load_onnxruntime(submodule: str = "") -> ModuleType:
    """The `onnxruntime` package or one of its submodules, imported with telemetry disabled."""
    disable_telemetry()
    return import_module(f"onnxruntime.{submodule}" if submodule else "onnxruntime")
