"""Keras models in memory, as a source: their tensors under Keras's own names, and their export.

An input is named as its `keras.Input`, an output as `model.output_names` says: after its layer. In
a model built with dictionaries both have the dictionaries' keys, and the only output of a
sequential model is `output_0`, as in Keras's own exports.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modelpad.convert.exporter_log import exporter_log
from modelpad.convert.graph import load_onnx, rename_io
from modelpad.convert.keras_problems import NEEDS_TENSORFLOW, needs_tensorflow
from modelpad.convert.source import ImportRequest, Shape, TensorSpec
from modelpad.convert.torch_examples import fill_sizes, make_array, make_hard_samples
from modelpad.convert.torch_specs import make_distinct
from modelpad.errors import ConversionFailed, first_line
from modelpad.fields.arrays import Array, Arrays
from modelpad.foreign_json import Json

if TYPE_CHECKING:
    import keras
    import torch
    from onnx import ModelProto

RESCALING = ("Rescaling", "Normalization")
OTHER_SIZES = (24, 64, 128, 224, 299, 512)  # for models that reject the default


class KerasSource:
    """A Keras model."""

    framework = "keras"
    classes: tuple[str, ...] = ()

    def __init__(self, model: keras.Model, request: ImportRequest | None = None) -> None:
        """Raises `ConversionFailed` if the model is not built, or has layers that keep state."""
        import keras

        self.model = model
        if not getattr(model, "inputs", None):
            raise ConversionFailed(
                f"The Keras model {model.name!r} has no known inputs.",
                hint="Use keras.Input in a functional or sequential model, or call the model once.",
            )
        _check_layers(model)
        names = _keys(model, "_inputs_struct") or [tensor.name for tensor in model.inputs]
        self.inputs = make_distinct(
            [
                describe_tensor(name, tensor, vocabulary_size(model, tensor))
                for name, tensor in zip(names, model.inputs, strict=True)
            ]
        )
        ends = _keys(model, "_outputs_struct") or output_names(model)
        self.outputs = make_distinct(
            [describe_tensor(n, tensor) for n, tensor in zip(ends, model.outputs, strict=True)],
            taken=self.inputs,
        )
        self.request = request or ImportRequest()
        self.facts: Mapping[str, Json] = {
            "model": type(model).__name__,
            "parameters": int(model.count_params()),
            "keras": keras.__version__,
            "backend": keras.backend.backend(),
        }

    def run(self, batch: Arrays) -> Arrays:
        """Keras's outputs."""
        import keras

        values = [batch[spec.name] for spec in self.inputs]
        outputs = keras.tree.flatten(self.model.predict_on_batch(self._pack(values)))
        return {
            spec.name: np.asarray(output)
            for spec, output in zip(self.outputs, outputs, strict=True)
        }

    def export(self) -> ModelProto:
        """The graph, with the axes dynamic that are free in the model."""
        import keras

        if keras.backend.backend() == "torch":
            return self._export_torch()
        return self._export_other()

    def hard_samples(self) -> Sequence[Arrays]:
        """Zeros, negative and large numbers, the first and last index, padding, unusual texts."""
        return make_hard_samples(self._find_sizes())

    def save(self, folder: Path) -> Path:
        """The model as a `.keras` file in `folder`."""
        self.model.save(folder / "model.keras")
        return folder / "model.keras"

    def files(self) -> Mapping[str, bytes | Path]:
        """The architecture and the weights, unless the architecture cannot be serialised."""
        try:
            architecture = self.model.to_json(indent=1).encode("utf-8")
        except (TypeError, ValueError, NotImplementedError):
            return {}
        with tempfile.TemporaryDirectory() as folder:
            weights = Path(folder) / "model.weights.h5"
            self.model.save_weights(weights)
            return {"architecture.json": architecture, "model.weights.h5": weights.read_bytes()}

    def _pack(
        self, values: Sequence[Array | torch.Tensor]
    ) -> Mapping[str, Array | torch.Tensor] | Sequence[Array | torch.Tensor] | Array | torch.Tensor:
        """The inputs in the structure that the model expects."""
        import keras

        structure = getattr(self.model, "_inputs_struct", None)
        if structure is None:
            return values[0] if len(values) == 1 else values
        packed: Sequence[Array] = keras.tree.pack_sequence_as(structure, list(values))
        return packed

    def _find_sizes(self) -> tuple[TensorSpec, ...]:
        """The inputs with sizes that the model accepts."""
        sizes = fill_sizes(self.inputs, self.request)
        if sizes == self.inputs or self._accepts(sizes):
            return sizes
        for side in OTHER_SIZES:
            other = tuple(
                _with_side(spec, used, side) for spec, used in zip(self.inputs, sizes, strict=True)
            )
            if self._accepts(other):
                return other
        return sizes

    def _accepts(self, sizes: Sequence[TensorSpec]) -> bool:
        if not any(None in spec.item_shape for spec in self.inputs):
            return True
        try:
            self.run({spec.name: make_array(spec, 1) for spec in sizes})
        except Exception:
            return False
        return True

    def _export_torch(self) -> ModelProto:
        import keras
        import torch

        from modelpad.convert.keras_masking import masked_recurrence
        from modelpad.convert.keras_recurrence import fused_recurrence
        from modelpad.convert.torch_export import export_module

        source = self

        class Flat(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = source.model

            def forward(self, *values: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
                result = keras.tree.flatten(self.model(source._pack(values), training=False))
                return result[0] if len(result) == 1 else tuple(result)

        sizes = self._find_sizes()
        with ExitStack() as stack:
            stack.enter_context(fused_recurrence())
            stack.enter_context(masked_recurrence())
            return export_module(
                Flat().eval(),
                self.inputs,
                self.outputs,
                sizes,
                dynamo_first=False,
                may_fix=bool(self.request.inputs),
            )

    def _export_other(self) -> ModelProto:
        onnx = load_onnx()
        with tempfile.TemporaryDirectory() as folder, exporter_log("keras"):
            path = Path(folder) / "model.onnx"
            try:
                # Keras only exports models that have been called.
                self.run({spec.name: make_array(spec, 1) for spec in self._find_sizes()})
                self.model.export(path, format="onnx", verbose=False)
                model: ModelProto = onnx.load(path)
                return rename_io(model, self.inputs, self.outputs)
            except ConversionFailed:
                raise
            except Exception as error:
                raise ConversionFailed(
                    f"Keras cannot export the model to ONNX: {first_line(error, 200)}",
                    hint="Set KERAS_BACKEND=torch, or export it and import the .onnx file.",
                ) from error


def describe_tensor(name: str, tensor: keras.KerasTensor, limit: int | None = None) -> TensorSpec:
    """A tensor as declared. One with a fixed batch size other than 1 has no batch axis."""
    shape: Shape = tuple(tensor.shape)
    axis = 0 if shape and shape[0] in (None, 1) else None
    return TensorSpec(name, str(tensor.dtype), shape, limit, axis)


def output_names(model: keras.Model) -> list[str]:
    """The names of the outputs, by default output_0, output_1, ..."""
    names = list(getattr(model, "output_names", None) or [])
    count = len(model.outputs)
    return names if len(names) == count else [f"output_{index}" for index in range(count)]


def _keys(model: keras.Model, attribute: str) -> list[str]:
    """The keys of the dictionary that a model takes or returns, in order; else empty."""
    import keras

    structure = getattr(model, attribute, None)
    if not isinstance(structure, dict):
        return []
    names = {id(tensor): name for name, tensor in structure.items()}
    flat = [names.get(id(tensor)) for tensor in keras.tree.flatten(structure)]
    return [name for name in flat if name is not None] if None not in flat else []


def vocabulary_size(model: keras.Model, tensor: keras.KerasTensor) -> int | None:
    """The size of the embedding that an input goes into; None if there is none."""
    for layer in iterate_layers(model):
        if type(layer).__name__ == "Embedding":
            inputs = layer.input if isinstance(layer.input, list) else [layer.input]
            if len(model.inputs) == 1 or any(each is tensor for each in inputs):
                return int(layer.input_dim)
    return None


def iterate_layers(model: keras.Model) -> Iterator[keras.Layer]:
    """All layers of a model, and of the models in it."""
    for layer in getattr(model, "layers", ()):
        yield layer
        yield from iterate_layers(layer)


def _check_layers(model: keras.Model) -> None:
    """Raises `ConversionFailed` for layers that no graph can express."""
    import keras

    for layer in iterate_layers(model):
        kind = type(layer).__name__
        if kind in NEEDS_TENSORFLOW and keras.backend.backend() != "tensorflow":
            raise needs_tensorflow(f"The model {model.name!r}", kind, layer.name)
        if getattr(layer, "stateful", False) and hasattr(layer, "reset_state"):
            raise ConversionFailed(
                f"The layer {layer.name!r} is stateful: it remembers the batch before, as a graph"
                " cannot.",
                hint="Build the model with stateful=False and set_weights, or make the state an"
                " input and an output.",
            )


def _with_side(spec: TensorSpec, used: TensorSpec, side: int) -> TensorSpec:
    """`used`, with a side wherever `spec` leaves it free, except the batch."""
    shape = tuple(
        side if own is None and axis != spec.batch_axis else given
        for axis, (own, given) in enumerate(zip(spec.shape, used.shape, strict=True))
    )
    return replace(used, shape=shape)
