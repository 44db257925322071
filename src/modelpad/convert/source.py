"""The interface of every framework's converter.

A converter supports one framework. It describes the model's inputs and outputs, runs the model in
that framework, and exports it as an ONNX graph. Fields, preprocessing and parity are not its
concern.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from modelpad.fields.arrays import Arrays
from modelpad.foreign_json import Json

if TYPE_CHECKING:
    from onnx import ModelProto

Shape = tuple[int | None, ...]
"""A side that is free is None."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output of a model.

    `dtype` is NumPy's name or `string`. `shape` starts with the batch axis. `limit` is the
    exclusive upper bound of integer inputs, if known (the size of an embedding).
    """

    name: str
    dtype: str
    shape: Shape
    limit: int | None = None

    @property
    def item_shape(self) -> Shape:
        """The shape without the batch axis."""
        return self.shape[1:]

    def renamed(self, name: str) -> TensorSpec:
        """A copy with another name."""
        return replace(self, name=name)


class SourceModel(Protocol):
    """A model of another framework, ready to be run and exported."""

    @property
    def framework(self) -> str:
        """The framework's name, in lower case."""

    @property
    def facts(self) -> Mapping[str, Json]:
        """Versions, kind and size of the model, for the manifest and the report."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs, in the model's order."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs, in the model's order."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, if the model contains them; else empty."""

    @property
    def scales_itself(self) -> bool:
        """Whether a layer of the model scales raw pixels 0..255."""

    def run(self, batch: Arrays) -> Arrays:
        """The model's outputs (batch, ...) in its own framework, by name."""

    def export(self) -> ModelProto:
        """The model as an ONNX graph whose inputs and outputs have the specs' names."""

    def files(self) -> Mapping[str, bytes | Path]:
        """The framework's own files, to include in the bundle."""


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """The user's options for an import.

    `inputs` and `outputs` are the texts of `--input` and `--output`. `samples` is a path, or values
    as `wrap_samples` accepts. `factory` is `package.module:name` of a function that returns an
    untrained PyTorch module. `trust` allows the file to run code.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    weights: Path | None = None
    samples: object = None
    factory: str | None = None
    trust: bool = False
    tolerance: float | None = None
    quantize: str | None = None
