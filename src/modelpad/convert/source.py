"""A foreign model, opened: what every framework's converter gives.

A converter knows one framework. It tells names, types and shapes of what goes in and comes out,
runs the model as its framework does, and writes it as an ONNX graph. It knows nothing of fields,
preparation or parity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor of a model: `dtype` is NumPy's name or `string`; `shape` starts with the batch.

    None is a side that is free. `limit` is one more than the largest whole number that makes sense,
    where that is known (the size of an embedding).
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    limit: int | None = None

    @property
    def item_shape(self) -> tuple[int | None, ...]:
        """The shape of one item, without the batch."""
        return self.shape[1:]

    def renamed(self, name: str) -> TensorSpec:
        """The same tensor under another name."""
        return replace(self, name=name)


class SourceModel(Protocol):
    """A model of another framework, ready to run and to convert."""

    @property
    def framework(self) -> str:
        """The framework's name, in lower case."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Versions, kind and size, for the manifest and the first line of the report."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What the model takes, in its own order."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What the model answers, in its own order."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes where the model itself knows them; else empty."""

    @property
    def scales_itself(self) -> bool:
        """Whether the model scales raw pixels 0..255 in a layer of its own."""

    def run(self, batch: Arrays) -> Arrays:
        """The model's own answers (batch, ...) in its framework, by output name."""

    def export(self) -> Any:
        """The model as an `onnx.ModelProto` whose inputs and outputs have the specs' names."""

    def files(self) -> Mapping[str, bytes | Path]:
        """Files of the framework's own to keep in the bundle beside the graph."""


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What is known besides the model: what the user said of inputs, outputs, samples, trust.

    `trust` allows a foreign file to run code; `factory` is `package.module:name` of a function
    that makes an untrained PyTorch module. `samples` is a path, or values as `wrap_samples` takes.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    weights: Path | None = None
    samples: Any = None
    factory: str | None = None
    trust: bool = False
    tolerance: float | None = None
    quantize: str | None = None
