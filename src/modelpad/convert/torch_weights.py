"""PyTorch weights without their module: state dicts and safetensors files."""

from __future__ import annotations

import importlib
import re
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from modelpad.convert.archives import check_zip, unreadable
from modelpad.convert.objects import open_object
from modelpad.convert.pickles import missing_package
from modelpad.convert.pytorch import TorchSource, read_specs
from modelpad.convert.source import ImportRequest, SourceModel
from modelpad.convert.torch_export import load_torch
from modelpad.convert.user_code import load_file
from modelpad.errors import ConversionFailed, MissingExtra, NotTrusted, UsageError, first_line

if TYPE_CHECKING:
    import torch


def open_weights(path: Path, request: ImportRequest) -> SourceModel:
    """Loads weights into the module that `request.factory` creates.

    With `request.trust`, the file may also be a pickled module or a fastai learner.

    Raises:
        UsageError: there is no `--module` or no `--input`, or the module cannot be imported.
        NotTrusted: the file is a pickle of more than tensors.
        ConversionFailed: the file cannot be read, or the weights do not fit the module.
        MissingExtra: a required package is not installed.
    """
    load_torch()
    if path.read_bytes()[8:9] == b"{" and not zipfile.is_zipfile(path):
        state = _load_safetensors(path)
    else:
        check_zip(path)
        state = _load_pickled(path, request)
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping):
        return open_object(state, request)
    if request.factory is None:
        raise UsageError(
            f"{path.name} contains weights without their module.",
            hint="Name the function that creates it: --module package.module:factory",
        )
    module = create_module(request.factory)
    try:
        module.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        lines = str(error).strip().splitlines()
        raise ConversionFailed(
            f"The weights in {path.name} do not fit the module of {request.factory}:"
            f" {' '.join(line.strip() for line in lines[1:3]) or first_line(error)}",
            hint="Use the factory of the module that was trained.",
        ) from error
    return TorchSource(module, read_specs(request, path.name), "Module", request=request)


def create_module(factory: str) -> torch.nn.Module:
    """The module that `package.module:function` or `FILE.py:function` returns.

    Raises `UsageError`.
    """
    import torch

    name, _, attribute = factory.rpartition(":")
    if not name:
        name, attribute = attribute, ""
    if not attribute:
        raise UsageError(
            f"--module {factory!r} is not package.module:factory or FILE.py:factory.",
            hint="For example --module net:make_net",
        )
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` does, for modules in the current folder
    try:
        source = load_file(Path(name)) if name.endswith(".py") else importlib.import_module(name)
        module: object = getattr(source, attribute)()
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(
            f"--module {factory}: {type(error).__name__}: {first_line(error)}.",
            hint="It is imported from the current folder, and called without arguments.",
        ) from error
    if not isinstance(module, torch.nn.Module):
        raise UsageError(
            f"{factory} returns a {type(module).__name__}, not a torch.nn.Module.",
            hint="Name a function without arguments that returns the untrained module.",
        )
    return module.eval()


def _load_safetensors(path: Path) -> object:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise MissingExtra("safetensors", extra="pytorch") from error
    try:
        return load_file(path)
    except Exception as error:
        raise unreadable(path, first_line(error)) from error


def _load_pickled(path: Path, request: ImportRequest) -> object:
    torch = load_torch()
    try:
        state: object = torch.load(path, map_location="cpu", weights_only=not request.trust)
        return state
    except ModuleNotFoundError as error:
        raise missing_package(path, error) from error
    except Exception as error:
        if request.trust:
            raise unreadable(path, first_line(error)) from error
        named = re.search(r"GLOBAL ([\w.]+)", str(error))  # after a page of PyTorch's advice
        found = named[1] if named else "pickle"
        raise NotTrusted(
            f"{path.name} is a pickle of more than tensors, which runs code when it is opened:"
            f" {found}.",
            hint="Save model.state_dict() alone; or, if you trust its author, use --trust.",
            found=[found],
        ) from error
