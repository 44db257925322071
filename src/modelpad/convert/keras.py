"""Keras models: `.keras` and `.h5` files, architecture JSON with weights, and models in memory.

Keras uses its PyTorch backend unless the process has chosen another.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from modelpad.convert.archives import check_hdf5, check_zip, unreadable
from modelpad.convert.graph import load_onnx, rename_io
from modelpad.convert.keras_config import check_config, without_training
from modelpad.convert.keras_legacy import modernise
from modelpad.convert.source import ImportRequest, TensorSpec
from modelpad.errors import ConversionFailed, MissingExtra, ModelpadError, UsageError, first_line
from modelpad.fields.arrays import Array, Arrays
from modelpad.foreign_json import Json, load_json

if TYPE_CHECKING:
    import keras
    import torch
    from onnx import ModelProto


def load_keras() -> ModuleType:
    """The `keras` package, on PyTorch unless another backend is set. Raises `MissingExtra`."""
    if find_spec("torch") is not None:
        os.environ.setdefault("KERAS_BACKEND", "torch")
    try:
        import keras
    except ImportError as error:
        raise MissingExtra(error.name or "keras", extra="keras") from error
    module: ModuleType = keras
    return module


def open_keras(path: Path, request: ImportRequest) -> KerasSource:
    """The Keras model in `path`, with the weights in `request.weights` if they are separate.

    Raises:
        NotTrusted: it contains custom objects, and `request.trust` is not set.
        ConversionFailed: it cannot be read.
        UsageError: the architecture or the weights are missing.
    """
    load_keras()
    head = path.open("rb").read(8)
    with _reading(path):
        if head.startswith(b"PK"):
            return KerasSource(_open_archive(path, request))
        if head.startswith(b"\x89HDF"):
            return KerasSource(_open_hdf5(path, request))
        return KerasSource(_open_json(path, request))


def _open_archive(path: Path, request: ImportRequest) -> keras.Model:
    keras = load_keras()
    names = check_zip(path)
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
        config = _read_config(path, archive.read("config.json"))
        for name in names:
            if name.endswith(".h5"):
                check_hdf5(Path(archive.extract(name, folder)))
        if request.trust:
            return keras.models.load_model(path, compile=False, safe_mode=False)
        config = without_training(config)
        check_config(config, where=path.name)
        # Load a copy of what was checked: Keras also chooses the format by the file's name.
        checked = Path(folder) / "checked.keras"
        _copy_archive(archive, checked, {"config.json": json.dumps(config).encode("utf-8")})
        return keras.models.load_model(checked, compile=False, safe_mode=True)


def _copy_archive(archive: zipfile.ZipFile, target: Path, changed: Mapping[str, bytes]) -> None:
    """Copies a zip file, replacing the entries in `changed`."""
    with zipfile.ZipFile(target, "w") as copy:
        for entry in dict.fromkeys(archive.namelist()):
            if entry in changed:
                copy.writestr(entry, changed[entry])
                continue
            with archive.open(entry) as before, copy.open(entry, "w", force_zip64=True) as after:
                shutil.copyfileobj(before, after, 1 << 20)


def _open_hdf5(path: Path, request: ImportRequest) -> keras.Model:
    attributes = check_hdf5(path)
    if "model_config" not in attributes:
        raise UsageError(
            f"{path.name} contains weights without their model.",
            hint=f"Give its architecture first: modelpad import model.json {path.name} --name NAME",
        )
    config = _read_config(path, str(attributes["model_config"]))
    model = build_from_config(config, path.name, trust=request.trust)
    load_weights(model, path)
    return model


def _open_json(path: Path, request: ImportRequest) -> keras.Model:
    if request.weights is None:
        raise UsageError(
            f"{path.name} is an architecture without weights.",
            hint=f"Give both: modelpad import {path.name} model.weights.h5 --name NAME",
        )
    config = _read_config(path, path.read_bytes())
    model = build_from_config(config, path.name, trust=request.trust)
    load_weights(model, request.weights)
    return model


def _read_config(path: Path, body: bytes | str) -> dict[str, Json]:
    try:
        config = load_json(body)
    except ValueError as error:
        raise unreadable(path, f"its configuration is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise unreadable(path, "its configuration is not an object")
    return config


def build_from_config(
    config: dict[str, Json], where: str = "The configuration", *, trust: bool = False
) -> keras.Model:
    """An untrained model from a configuration of Keras 3 or 2. The latter names no modules.

    `where` is the source of the configuration, for errors. Raises `NotTrusted` for custom objects,
    unless `trust` is set, and `ConversionFailed` for an invalid configuration.
    """
    keras = load_keras()
    config = _modernise(config, where)
    if not trust:
        config = without_training(config)
        check_config(config, where=where)
    if "module" in config:
        return keras.saving.deserialize_keras_object(config, safe_mode=not trust)
    from keras.src.legacy.saving import saving_options, saving_utils
    from keras.src.saving import serialization_lib

    with (
        saving_options.keras_option_scope(use_legacy_config=True),
        serialization_lib.SafeModeScope(not trust),
    ):
        return saving_utils.model_from_config(config)


def _modernise(config: dict[str, Json], where: str) -> dict[str, Json]:
    try:
        modern = modernise(config)
    except (KeyError, TypeError) as error:
        raise ConversionFailed(
            f"{where} is not a valid Keras configuration: {error}.",
            hint="Save the model again.",
        ) from error
    return modern if isinstance(modern, dict) else config


def load_weights(model: keras.Model, path: Path) -> None:
    """Loads the weights in `path`, in either of Keras's HDF5 layouts, whatever its name.

    Raises `ConversionFailed` if they do not fit the model.
    """
    attributes = check_hdf5(path)
    legacy = "layer_names" in attributes or "model_config" in attributes
    with tempfile.TemporaryDirectory() as folder:
        # Keras distinguishes its two layouts by the file's name.
        named = Path(folder) / ("weights.h5" if legacy else "model.weights.h5")
        try:
            named.symlink_to(path.resolve())
        except OSError:
            shutil.copyfile(path, named)
        try:
            model.load_weights(named)
        except Exception as error:
            raise ConversionFailed(
                f"The weights in {path.name} do not fit the model: {first_line(error)}",
                hint="Use the architecture that these weights were trained with.",
            ) from error


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Translates exceptions that Keras raises while it reads a file."""
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    except ModelpadError:
        raise
    except ImportError as error:
        raise MissingExtra(error.name or "keras", extra="keras") from error
    except Exception as error:
        raise ConversionFailed(
            f"Keras cannot read {path.name}: {first_line(error, 300)}",
            hint="Check that it is complete, and saved by Keras 2 or 3.",
        ) from error


class KerasSource:
    """A Keras model."""

    framework = "keras"
    classes: tuple[str, ...] = ()

    def __init__(self, model: keras.Model) -> None:
        """Raises `ConversionFailed` if the model is not built."""
        import keras

        self.model = model
        if not getattr(model, "inputs", None):
            raise ConversionFailed(
                f"The Keras model {model.name!r} has no known inputs.",
                hint="Use keras.Input in a functional or sequential model, or call the model once.",
            )
        names = unique_names([tensor.name for tensor in model.inputs])
        self.inputs = tuple(
            TensorSpec(name, tensor.dtype, tuple(tensor.shape), vocabulary_size(model, tensor))
            for name, tensor in zip(names, model.inputs, strict=True)
        )
        outputs = unique_names([output_name(model, index) for index in range(len(model.outputs))])
        self.outputs = tuple(
            TensorSpec(name, str(tensor.dtype), tuple(tensor.shape))
            for name, tensor in zip(outputs, model.outputs, strict=True)
        )
        self.facts: Mapping[str, Json] = {
            "model": type(model).__name__,
            "parameters": int(model.count_params()),
            "keras": keras.__version__,
            "backend": keras.backend.backend(),
        }

    def run(self, batch: Arrays) -> Arrays:
        """Keras's outputs."""
        values = [batch[spec.name] for spec in self.inputs]
        result = self.model.predict_on_batch(self._pack(values))
        flat = list(result.values()) if isinstance(result, dict) else result
        outputs = flat if isinstance(flat, list | tuple) else [flat]
        return {
            spec.name: np.asarray(output)
            for spec, output in zip(self.outputs, outputs, strict=True)
        }

    def export(self) -> ModelProto:
        """The graph, with a dynamic batch axis."""
        import keras

        if keras.backend.backend() == "torch":
            return self._export_torch()
        return self._export_other()

    def hard_samples(self) -> Sequence[Arrays]:
        """None."""
        return ()

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
        structure = getattr(self.model, "_inputs_struct", None)
        if isinstance(structure, dict):
            return dict(zip(structure, values, strict=True))
        return values[0] if len(values) == 1 else values

    def _export_torch(self) -> ModelProto:
        import torch

        from modelpad.convert.keras_recurrence import fused_recurrence
        from modelpad.convert.torch_export import export_module

        source = self

        class Flat(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = source.model

            def forward(self, *values: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
                result = self.model(source._pack(values), training=False)
                if isinstance(result, dict):
                    result = list(result.values())
                return tuple(result) if isinstance(result, list | tuple) else result

        with fused_recurrence():
            return export_module(Flat().eval(), self.inputs, self.outputs, dynamo_first=False)

    def _export_other(self) -> ModelProto:
        onnx = load_onnx()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            with contextlib.redirect_stdout(io.StringIO()):
                self.model.export(path, format="onnx", verbose=False)
            model: ModelProto = onnx.load(path)
        return rename_io(model, self.inputs, self.outputs)


def output_name(model: keras.Model, index: int) -> str:
    """The name of an output, by default `output_INDEX`."""
    names = list(getattr(model, "output_names", []))
    return names[index] if index < len(names) else f"output_{index}"


def vocabulary_size(model: keras.Model, tensor: keras.KerasTensor) -> int | None:
    """The size of the embedding that an input goes into; None if there is none."""
    for layer in model.layers:
        if type(layer).__name__ == "Embedding":
            inputs = layer.input if isinstance(layer.input, list) else [layer.input]
            if len(model.inputs) == 1 or any(each is tensor for each in inputs):
                return int(layer.input_dim)
    return None


def unique_names(names: list[str]) -> list[str]:
    """The names without slashes, and numbered where they repeat."""
    out: list[str] = []
    for name in (each.replace("/", "_") for each in names):
        number, candidate = 1, name
        while candidate in out:
            number += 1
            candidate = f"{name}_{number}"
        out.append(candidate)
    return out
