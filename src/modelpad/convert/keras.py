"""Keras models: `.keras`, `.h5` of Keras 2 days, architecture JSON with weights, live models.

Keras runs on its PyTorch backend unless the process has chosen another.
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
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from modelpad.convert.archives import check_hdf5, check_zip, unreadable
from modelpad.convert.graph import load_onnx, name_ends
from modelpad.convert.keras_config import check_config, without_training
from modelpad.convert.keras_legacy import modernise
from modelpad.convert.source import Arrays, ImportRequest, TensorSpec
from modelpad.errors import ConversionFailed, MissingExtra, ModelpadError, UsageError, first_line
from modelpad.foreign_json import load_json

RESCALING = ("Rescaling", "Normalization")


def load_keras() -> Any:
    """Keras, on PyTorch unless another backend was chosen. Raises `MissingExtra`."""
    if find_spec("torch") is not None:
        os.environ.setdefault("KERAS_BACKEND", "torch")
    try:
        import keras
    except ImportError as error:
        raise MissingExtra(error.name or "keras", extra="keras") from error
    return keras


def open_keras(path: Path, request: ImportRequest) -> KerasSource:
    """The Keras model in `path`, with the weights of `request.weights` where these are apart.

    Raises:
        NotTrusted: it names what is not Keras's own, and `request.trust` is not set.
        ConversionFailed: it cannot be read.
        UsageError: weights without an architecture, or the other way round.
    """
    load_keras()
    head = path.open("rb").read(8)
    with _reading(path):
        if head.startswith(b"PK"):
            return KerasSource(_open_archive(path, request))
        if head.startswith(b"\x89HDF"):
            return KerasSource(_open_hdf5(path, request))
        return KerasSource(_open_json(path, request))


def _open_archive(path: Path, request: ImportRequest) -> Any:
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
        # A copy with what was checked: by the file's own name Keras may read it as another format.
        checked = Path(folder) / "checked.keras"
        _copy_archive(archive, checked, {"config.json": json.dumps(config).encode("utf-8")})
        return keras.models.load_model(checked, compile=False, safe_mode=True)


def _copy_archive(archive: zipfile.ZipFile, target: Path, changed: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(target, "w") as copy:
        for entry in dict.fromkeys(archive.namelist()):
            if entry in changed:
                copy.writestr(entry, changed[entry])
                continue
            with archive.open(entry) as before, copy.open(entry, "w", force_zip64=True) as after:
                shutil.copyfileobj(before, after, 1 << 20)


def _open_hdf5(path: Path, request: ImportRequest) -> Any:
    attributes = check_hdf5(path)
    if "model_config" not in attributes:
        raise UsageError(
            f"{path.name} holds weights without their model.",
            hint=f"Give its architecture first: modelpad import model.json {path.name} --name NAME",
        )
    config = _read_config(path, attributes["model_config"])
    model = build_from_config(config, path.name, trust=request.trust)
    load_weights(model, path)
    return model


def _open_json(path: Path, request: ImportRequest) -> Any:
    if request.weights is None:
        raise UsageError(
            f"{path.name} is an architecture without weights.",
            hint=f"Give both: modelpad import {path.name} model.weights.h5 --name NAME",
        )
    config = _read_config(path, path.read_bytes())
    model = build_from_config(config, path.name, trust=request.trust)
    load_weights(model, request.weights)
    return model


def _read_config(path: Path, body: bytes | str) -> dict[str, Any]:
    try:
        config = load_json(body)
    except ValueError as error:
        raise unreadable(path, f"its configuration is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise unreadable(path, "its configuration is not an object")
    return config


def build_from_config(
    config: dict[str, Any], where: str = "The configuration", *, trust: bool = False
) -> Any:
    """An untrained model from the configuration of Keras 3, or of 2, which names no modules.

    Raises `NotTrusted`, naming `where` it is from, for what is not Keras's own and plain, unless it
    is trusted.
    """
    keras = load_keras()
    config = modernise(config)
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


def load_weights(model: Any, path: Path) -> None:
    """Loads the weights in `path`, whichever of Keras's two HDF5 layouts it has and however named.

    Raises `ConversionFailed` when they are of another model.
    """
    attributes = check_hdf5(path)
    older = "layer_names" in attributes or "model_config" in attributes
    with tempfile.TemporaryDirectory() as folder:
        # Keras tells its two layouts apart by the file's name; people name files as they like.
        named = Path(folder) / ("weights.h5" if older else "model.weights.h5")
        try:
            named.symlink_to(path.resolve())
        except OSError:
            shutil.copyfile(path, named)
        try:
            model.load_weights(named)
        except Exception as error:
            raise ConversionFailed(
                f"The weights in {path.name} do not fit the model: {first_line(error)}",
                hint="Give the architecture that these weights were trained with.",
            ) from error


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what Keras raises while it reads a file into our error."""
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
            hint="Check that it is whole, and saved by Keras 2 or 3.",
        ) from error


class KerasSource:
    """A Keras model, live or loaded."""

    framework = "keras"
    classes: tuple[str, ...] = ()

    def __init__(self, model: Any) -> None:
        """Raises `ConversionFailed` for a model that was never built."""
        import keras

        self.model = model
        if not getattr(model, "inputs", None):
            raise ConversionFailed(
                f"The Keras model {model.name!r} has no known inputs.",
                hint="Make it functional or sequential with keras.Input, or call it once.",
            )
        names = unique([tensor.name for tensor in model.inputs])
        self.inputs = tuple(
            TensorSpec(name, tensor.dtype, tuple(tensor.shape), find_vocabulary(model, tensor))
            for name, tensor in zip(names, model.inputs, strict=True)
        )
        outputs = unique([find_layer_name(model, index) for index in range(len(model.outputs))])
        self.outputs = tuple(
            TensorSpec(name, str(tensor.dtype), tuple(tensor.shape))
            for name, tensor in zip(outputs, model.outputs, strict=True)
        )
        self.facts: Mapping[str, Any] = {
            "model": type(model).__name__,
            "parameters": int(model.count_params()),
            "keras": keras.__version__,
            "backend": keras.backend.backend(),
        }

    @property
    def scales_itself(self) -> bool:
        """Whether the first layer that does something is a scaling."""
        layers = [layer for layer in self.model.layers if type(layer).__name__ != "InputLayer"]
        reshapes = ("Reshape", "Permute")
        first = next((layer for layer in layers if type(layer).__name__ not in reshapes), None)
        return type(first).__name__ in RESCALING

    def run(self, batch: Arrays) -> Arrays:
        """Keras's own answers."""
        values = [batch[spec.name] for spec in self.inputs]
        answers = self.model.predict_on_batch(self._pack(values))
        flat = list(answers.values()) if isinstance(answers, dict) else answers
        listed = flat if isinstance(flat, list | tuple) else [flat]
        return {
            spec.name: np.asarray(answer) for spec, answer in zip(self.outputs, listed, strict=True)
        }

    def export(self) -> Any:
        """The graph, any number of items at once."""
        import keras

        if keras.backend.backend() == "torch":
            return self._export_torch()
        return self._export_other()

    def files(self) -> Mapping[str, bytes | Path]:
        """The two files people know: architecture and weights."""
        try:
            architecture = self.model.to_json(indent=1).encode("utf-8")
        except (TypeError, ValueError, NotImplementedError):
            return {}
        with tempfile.TemporaryDirectory() as folder:
            weights = Path(folder) / "model.weights.h5"
            self.model.save_weights(weights)
            return {"architecture.json": architecture, "model.weights.h5": weights.read_bytes()}

    def _pack(self, values: list[Any]) -> Any:
        structure = getattr(self.model, "_inputs_struct", None)
        if isinstance(structure, dict):
            return dict(zip(structure, values, strict=True))
        return values[0] if len(values) == 1 else values

    def _export_torch(self) -> Any:
        import torch

        from modelpad.convert.keras_recurrence import fast_recurrence
        from modelpad.convert.torch_export import export_module

        source = self

        class Flat(torch.nn.Module):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.model = source.model

            def forward(self, *values: Any) -> Any:
                answer = self.model(source._pack(list(values)), training=False)
                if isinstance(answer, dict):
                    answer = list(answer.values())
                return tuple(answer) if isinstance(answer, list | tuple) else answer

        with fast_recurrence():
            return export_module(Flat().eval(), self.inputs, self.outputs, dynamo_first=False)

    def _export_other(self) -> Any:
        onnx = load_onnx()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            with contextlib.redirect_stdout(io.StringIO()):
                self.model.export(path, format="onnx", verbose=False)
            model = onnx.load(path)
        return name_ends(model, self.inputs, self.outputs)


def find_layer_name(model: Any, index: int) -> str:
    """The name of an output: the model's own, else that of the layer it comes from."""
    names = list(getattr(model, "output_names", []))
    return names[index] if index < len(names) else f"output_{index}"


def find_vocabulary(model: Any, tensor: Any) -> int | None:
    """How many tokens the embedding knows that an integer input goes into."""
    for layer in model.layers:
        if type(layer).__name__ == "Embedding":
            inputs = layer.input if isinstance(layer.input, list) else [layer.input]
            if len(model.inputs) == 1 or any(each is tensor for each in inputs):
                return int(layer.input_dim)
    return None


def unique(names: list[str]) -> list[str]:
    """The names, made different where two are the same, and without slashes."""
    out: list[str] = []
    for name in (each.replace("/", "_") for each in names):
        number, candidate = 1, name
        while candidate in out:
            number += 1
            candidate = f"{name}_{number}"
        out.append(candidate)
    return out
