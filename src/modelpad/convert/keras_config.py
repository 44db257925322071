"""Checks the names in a Keras configuration before Keras reads it.

Keras creates objects by the names in a file. Its `safe_mode` does not apply to `.h5` files
(CVE-2025-9905) and has been bypassed in `.keras` files. So we allow only known harmless layers,
initializers and so on, at any depth, and reject everything else by name. The training settings
(`compile_config`: optimizer, loss, metrics) are removed unread: Keras would act on them in every
nested model, and inference does not need them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from modelpad.errors import NotTrusted
from modelpad.foreign_json import Json

# Keras's own layers that contain code or open other files.
RUNS_CODE = {
    "Lambda": "a Lambda layer contains Python code",
    "__lambda__": "it contains Python code",
    "TFOpLambda": "a TensorFlow call recorded by name",
    "SlicingOpLambda": "a TensorFlow call recorded by name",
    "TensorFlowOpLayer": "a TensorFlow operation recorded by name",
    "TorchModuleWrapper": "it contains a pickled PyTorch module",
    "TFSMLayer": "it opens a SavedModel, which is a program",
    "JaxLayer": "it contains code",
    "FlaxLayer": "it contains code",
}
PLAIN = {
    "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__tuple__", "__keras_tensor__",
    "__slice__",
}  # fmt: skip
# The packages of Keras that a configuration may name, after `keras.` or `keras.src.`.
PACKAGES = {
    "", "activations", "constraints", "dtype_policies", "engine", "initializers", "layers",
    "models", "ops", "quantizers", "random", "regularizers",
}  # fmt: skip
FUNCTION_MODULES = (None, "builtins", "keras.activations", "keras.src.activations.activations")
TRAINING = ("compile_config", "training_config", "optimizer_config")
# Names in Keras 2 of classes that Keras 3 has renamed.
LEGACY_NAMES = {"Model", "Functional", "Policy", "DTypePolicy", "BatchNormalizationV1", "InputSpec"}
READS_FILES = ("vocabulary", "filepath", "path")


def check_config(config: Json, *, where: str, custom: Collection[str] = ()) -> None:
    """Raises `NotTrusted`, naming every object in `config` that is not a harmless one of Keras.

    `custom` are the registered names of objects of the user's own, which are allowed.
    """
    found = list(find_disallowed(config, custom))
    if found:
        raise NotTrusted(
            f"{where} contains objects that could run code or are not Keras's own:"
            f" {'; '.join(found[:5])}.",
            hint="If you made this model or trust its author, import it with --trust; custom layers"
            " need the file that defines them: --module FILE.py",
            found=found,
        )


def without_training(config: dict[str, Json]) -> dict[str, Json]:
    """A copy without the training settings of the model and of all nested models."""
    return {key: _without_training(v) for key, v in config.items() if key not in TRAINING}


def _without_training(value: Json) -> Json:
    if isinstance(value, list):
        return [_without_training(item) for item in value]
    return without_training(value) if isinstance(value, dict) else value


def find_disallowed(config: Json, custom: Collection[str] = ()) -> Iterator[str]:
    """Each object in `config` that is not allowed, with the reason."""
    if isinstance(config, list):
        for item in config:
            yield from find_disallowed(item, custom)
        return
    if not isinstance(config, dict):
        return
    name = config.get("class_name")
    if isinstance(name, str):
        reason = "" if _is_own(name, config, custom) else reason_disallowed(name, config)
        if reason:
            inner = config.get("config")
            own = inner.get("name") if isinstance(inner, dict) else None
            yield f"{name}{f' {own!r}' if own else ''} ({reason})"
            return
    elif name is not None:
        yield f"class_name {str(name)[:40]!r}"
    elif not _is_module(config.get("module")):
        yield f"module {config['module']!r}"
    for key, value in config.items():
        if key in READS_FILES and isinstance(value, str):
            yield f"{key} {value!r} (it would read that file)"
        yield from find_disallowed(value, custom)


def _is_own(name: str, config: dict[str, Json], custom: Collection[str]) -> bool:
    """Whether it is one of the user's own objects: Keras looks for their registered name first."""
    registered = config.get("registered_name") or name
    return name not in RUNS_CODE and name not in PLAIN and registered in custom


def reason_disallowed(name: str, config: dict[str, Json]) -> str:
    """Why an object called `name` is not allowed; "" if it is."""
    if name in RUNS_CODE:
        return RUNS_CODE[name]
    if name in PLAIN:
        return ""
    module = config.get("module")
    registered = config.get("registered_name")
    if isinstance(registered, str) and ">" in registered and not _is_keras_own(registered):
        return "a custom object"
    if name == "function":
        return "" if _is_function(config) else "an unknown function"
    if not _is_module(module):
        return f"of module {module}"
    return "" if name in LEGACY_NAMES or _find_class(name, module) else "a custom object"


def _is_keras_own(registered: str) -> bool:
    return registered.split(">")[0] in ("keras", "Keras")


def _is_module(module: object) -> bool:
    if module is None:
        return True
    parts = module.split(".") if isinstance(module, str) else []
    inner = parts[2:] if parts[1:2] == ["src"] else parts[1:]
    return parts[:1] == ["keras"] and (inner[0] if inner else "") in PACKAGES


def _is_function(config: dict[str, Json]) -> bool:
    """Whether it is an activation function. In another module, its name may mean anything."""
    from keras import activations

    name = config.get("config")
    known = isinstance(name, str) and name not in ("deserialize", "get", "serialize")
    return (
        known
        and config.get("module") in FUNCTION_MODULES
        and callable(getattr(activations, str(name), None))
    )


def _find_class(name: str, module: object) -> bool:
    """Whether `name` is one of Keras's classes that contain only numbers and settings."""
    import keras

    namespaces = [
        keras.layers,
        keras.initializers,
        keras.regularizers,
        keras.constraints,
        keras.dtype_policies,
        keras.random,
        keras.activations,
        keras.models,
        keras.quantizers,
    ]
    if any(isinstance(getattr(namespace, name, None), type) for namespace in namespaces):
        return True
    if isinstance(module, str) and module.startswith("keras.src.ops."):
        from keras.src import ops

        namespace = getattr(ops, module.rpartition(".")[2], None)
        found = getattr(namespace, name, None)
        return isinstance(found, type) and issubclass(found, keras.Operation)
    return False
