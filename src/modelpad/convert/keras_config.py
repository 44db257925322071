"""What a Keras configuration may name, read before Keras reads it.

Keras rebuilds objects by the names in a file. Its `safe_mode` does not hold for `.h5` files
(CVE-2025-9905) and has been got round in `.keras` files, so we allow only what is known to be a
plain layer, initializer and the like, wherever it stands, and refuse everything else by name. How
a model was trained (`compile_config`: optimizer, loss, metrics) is removed unread: Keras would act
on it in every model within the model, and to answer it takes none of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelpad.errors import NotTrusted

# Layers of Keras itself that hold code or open other files.
RUNS_CODE = {
    "Lambda": "a Lambda layer holds Python code",
    "__lambda__": "it holds Python code",
    "TFOpLambda": "a TensorFlow call recorded by name",
    "SlicingOpLambda": "a TensorFlow call recorded by name",
    "TensorFlowOpLayer": "a TensorFlow operation recorded by name",
    "TorchModuleWrapper": "it holds a pickled PyTorch module",
    "TFSMLayer": "it opens a SavedModel, which is a program",
    "JaxLayer": "it holds code",
    "FlaxLayer": "it holds code",
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
# What Keras 2 called things that Keras 3 calls otherwise.
OLDER = {"Model", "Functional", "Policy", "DTypePolicy", "BatchNormalizationV1", "InputSpec"}
READS_FILES = ("vocabulary", "filepath", "path")


def check_config(config: Any, *, where: str) -> None:
    """Raises `NotTrusted`, naming every object in `config` that is not Keras's own and plain."""
    found = list(find_strangers(config))
    if found:
        raise NotTrusted(
            f"{where} holds what would run code or is not Keras's own: {'; '.join(found[:5])}.",
            hint="If you made this model or trust who did, import it with --trust.",
            found=found,
        )


def without_training(config: Any) -> Any:
    """A copy without the training settings of the model and of every model inside it."""
    if isinstance(config, list):
        return [without_training(item) for item in config]
    if not isinstance(config, dict):
        return config
    return {key: without_training(v) for key, v in config.items() if key not in TRAINING}


def find_strangers(config: Any) -> Iterator[str]:
    """Each object in `config` that is not allowed, with the reason."""
    if isinstance(config, list | tuple):
        for item in config:
            yield from find_strangers(item)
        return
    if not isinstance(config, dict):
        return
    name = config.get("class_name")
    if isinstance(name, str):
        reason = judge(name, config)
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
        yield from find_strangers(value)


def judge(name: str, config: dict[str, Any]) -> str:
    """Why an object called `name` is not allowed; "" when it is."""
    if name in RUNS_CODE:
        return RUNS_CODE[name]
    if name in PLAIN:
        return ""
    module = config.get("module")
    registered = config.get("registered_name")
    if isinstance(registered, str) and ">" in registered and not _is_keras_own(registered):
        return "a custom object"
    if name == "function":
        return "" if _is_function(config) else "a function that Keras does not know"
    if not _is_module(module):
        return f"of module {module}"
    return "" if name in OLDER or _find_class(name, module) else "a custom object"


def _is_keras_own(registered: str) -> bool:
    return registered.split(">")[0] in ("keras", "Keras")


def _is_module(module: object) -> bool:
    if module is None:
        return True
    parts = module.split(".") if isinstance(module, str) else []
    inner = parts[2:] if parts[1:2] == ["src"] else parts[1:]
    return parts[:1] == ["keras"] and (inner[0] if inner else "") in PACKAGES


def _is_function(config: dict[str, Any]) -> bool:
    """Whether it is an activation: the same name may mean something else in another module."""
    from keras import activations

    name = config.get("config")
    known = isinstance(name, str) and name not in ("deserialize", "get", "serialize")
    return (
        known
        and config.get("module") in FUNCTION_MODULES
        and callable(getattr(activations, str(name), None))
    )


def _find_class(name: str, module: object) -> bool:
    """Whether `name` is a class of Keras's own that holds only numbers and settings."""
    import keras

    rooms = [
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
    if any(isinstance(getattr(room, name, None), type) for room in rooms):
        return True
    if isinstance(module, str) and module.startswith("keras.src.ops."):
        from keras.src import ops

        room = getattr(ops, module.rpartition(".")[2], None)
        found = getattr(room, name, None)
        return isinstance(found, type) and issubclass(found, keras.Operation)
    return False
