"""Keras files: `.keras` and `.h5`, and architecture JSON with weights.

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
from collections.abc import Collection, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from modelpad.convert.archives import check_hdf5, check_zip, unreadable
from modelpad.convert.keras_config import check_config, without_training
from modelpad.convert.keras_custom import register_custom
from modelpad.convert.keras_legacy import modernise
from modelpad.convert.keras_problems import (
    check_exportable,
    explain_import_error,
    find_missing_class,
    missing_class,
)
from modelpad.convert.keras_source import KerasSource
from modelpad.convert.source import ImportRequest
from modelpad.errors import ConversionFailed, MissingExtra, ModelpadError, UsageError, first_line
from modelpad.foreign_json import Json, load_json

if TYPE_CHECKING:
    import keras


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
    custom = register_custom(request.factory)
    with _reading(path):
        if head.startswith(b"PK"):
            return KerasSource(_open_archive(path, request, custom), request)
        if head.startswith(b"\x89HDF"):
            return KerasSource(_open_hdf5(path, request, custom), request)
        return KerasSource(_open_json(path, request, custom), request)


def _open_archive(path: Path, request: ImportRequest, custom: Collection[str]) -> keras.Model:
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
        check_config(config, where=path.name, custom=custom)
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


def _open_hdf5(path: Path, request: ImportRequest, custom: Collection[str]) -> keras.Model:
    attributes = check_hdf5(path)
    if "model_config" not in attributes:
        raise UsageError(
            f"{path.name} contains weights without their model.",
            hint=f"Give its architecture first: modelpad import model.json {path.name} --name NAME",
        )
    config = _read_config(path, str(attributes["model_config"]))
    model = build_from_config(config, path.name, trust=request.trust, custom=custom)
    load_weights(model, path)
    return model


def _open_json(path: Path, request: ImportRequest, custom: Collection[str]) -> keras.Model:
    if request.weights is None:
        raise UsageError(
            f"{path.name} is an architecture without weights.",
            hint=f"Give both: modelpad import {path.name} model.weights.h5 --name NAME",
        )
    config = _read_config(path, path.read_bytes())
    model = build_from_config(config, path.name, trust=request.trust, custom=custom)
    load_weights(model, request.weights)
    return model


def _read_config(path: Path, body: bytes | str) -> dict[str, Json]:
    try:
        config = load_json(body)
    except ValueError as error:
        raise unreadable(path, f"its configuration is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise unreadable(path, "its configuration is not an object")
    if load_keras().backend.backend() != "tensorflow":
        check_exportable(path.name, config)
    return config


def build_from_config(
    config: dict[str, Json],
    where: str = "The configuration",
    *,
    trust: bool = False,
    custom: Collection[str] = (),
) -> keras.Model:
    """An untrained model from a configuration of Keras 3 or 2. The latter names no modules.

    `where` is the source of the configuration, for errors. Raises `NotTrusted` for custom objects,
    unless `trust` is set or they are in `custom`, and `ConversionFailed` for an invalid one.
    """
    keras = load_keras()
    config = _modernise(config, where)
    if not trust:
        config = without_training(config)
        check_config(config, where=where, custom=custom)
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
        raise explain_import_error(path, error) from error
    except Exception as error:
        missing = find_missing_class(error)
        if missing:
            raise missing_class(path, missing) from error
        raise ConversionFailed(
            f"Keras cannot read {path.name}: {first_line(error, 300)}",
            hint="Check that it is complete, and saved by Keras 2 or 3.",
        ) from error
