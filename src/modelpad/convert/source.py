"""The interface of every framework's converter.

A converter supports one framework. It describes the model's inputs and outputs, runs the model in
that framework, and exports it as an ONNX graph. Fields, preprocessing and parity are not its
concern.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from modelpad.convert.specs import InputSpec, OutputSpec
from modelpad.fields import Tokenizer
from modelpad.fields.arrays import Arrays
from modelpad.foreign_json import Json

if TYPE_CHECKING:
    from onnx import ModelProto

Shape = tuple[int | None, ...]
"""A side that is free is None."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output of a model, exactly as its framework declares it.

    `dtype` is NumPy's name or `string`. `shape` is the whole shape; `batch_axis` is the axis that
    counts items, or None if there is none and requests run one at a time. `limit` is the exclusive
    upper bound of integer inputs, if known (the size of an embedding). `columns` names the features
    on the last axis of a table (batch, features); `choices` are the values of a categorical input
    (batch, 1) that the model was trained on.
    """

    name: str
    dtype: str
    shape: Shape
    limit: int | None = None
    batch_axis: int | None = 0
    columns: tuple[str, ...] = ()
    choices: tuple[str | int, ...] = ()

    @property
    def item_shape(self) -> Shape:
        """The shape without the batch axis."""
        if self.batch_axis is None:
            return self.shape
        return (*self.shape[: self.batch_axis], *self.shape[self.batch_axis + 1 :])

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

    def run(self, batch: Arrays) -> Arrays:
        """The model's outputs in its own framework, by name, for its own raw inputs by name.

        It is called with one item and with several, if all tensors have a batch axis.
        """

    def hard_samples(self) -> Sequence[Arrays]:
        """Raw inputs of single items, without the batch axis, that are hard for this framework.

        For example missing values, unseen categories, stop words, edges of the thresholds of trees.
        They are part of the parity check; none is required.
        """

    def export(self) -> ModelProto:
        """The model as an ONNX graph whose inputs and outputs have the specs' names."""

    def files(self) -> Mapping[str, bytes | Path]:
        """The framework's own files, to include in the bundle."""


@runtime_checkable
class HasSignatures(Protocol):
    """A source model of a format that has several signatures; it is itself the main one."""

    @property
    def signature_name(self) -> str:
        """The main signature's name."""

    def other_signatures(self) -> Mapping[str, SourceModel]:
        """The other signatures by name. Equal signatures are one object, which may be this one."""


@runtime_checkable
class Quantized(Protocol):
    """A source model that computes with integers, which its graph need not do in the same steps."""

    @property
    def quanta(self) -> Mapping[str, float]:
        """The accepted absolute difference of an output by name: one quantum."""

    @property
    def tolerance(self) -> float | None:
        """The accepted relative difference, if it is larger than usual."""


@runtime_checkable
class HasFields(Protocol):
    """A source model of a format that says what it is for, and how its inputs are prepared."""

    @property
    def task(self) -> str:
        """The task's usual name, such as `fill-mask`."""

    @property
    def tokenizer(self) -> Tokenizer | None:
        """What turns text into the model's inputs. Its file is one of `files`."""

    def input_specs(self) -> Sequence[InputSpec]:
        """What `--input` would say, used where the user says nothing."""

    def output_specs(self) -> Sequence[OutputSpec]:
        """What `--output` would say, used where the user says nothing."""


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """The user's options for an import.

    `inputs` and `outputs` are the texts of `--input` and `--output`. `samples` is a path, or values
    as `wrap_samples` accepts. `factory` is `package.module:name` of a function that returns an
    untrained PyTorch module, or the path of a Python file that defines custom Keras objects.
    `trust` allows the file to run code. With `ask`, an image input whose pixel range is unknown is
    an error; else it is served as numbers. `signature` names the main signature of a TensorFlow
    model; None means its default. `backend` is `onnx`, or `native` to keep the framework's own file
    and run it there. `title`, `summary`, `author`, `licence` and `card` (Markdown) are
    the author's words, for the manifest and the page.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    weights: Path | None = None
    samples: object = None
    factory: str | None = None
    trust: bool = False
    tolerance: float | None = None
    quantize: str | None = None
    ask: bool = True
    signature: str | None = None
    backend: str = "onnx"
    title: str = ""
    summary: str = ""
    author: str = ""
    licence: str = ""
    card: str = ""
