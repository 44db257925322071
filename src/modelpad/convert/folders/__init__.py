"""Finds the models in a folder that another tool wrote or a user collected.

    found = find_models(Path("model_repository"))
    for model in found.models:
        source = open_model(model, request)

Triton's and TensorFlow Serving's repositories, MLflow's models, Keras 2 pairs, and model files of
any kind are recognised. Finding only reads names and configuration; nothing in a folder is run.
"""

from modelpad.convert.folders.found import Contract, FolderModel, Found, LeftOut
from modelpad.convert.folders.names import valid_name
from modelpad.convert.folders.opening import build_request, describe_settings, open_model
from modelpad.convert.folders.search import find_models, name_file

__all__ = [
    "Contract",
    "FolderModel",
    "Found",
    "LeftOut",
    "build_request",
    "describe_settings",
    "find_models",
    "name_file",
    "open_model",
    "valid_name",
]
