"""Converts configurations written by Keras 2 for Keras 3."""

from __future__ import annotations

from modelpad.foreign_json import Json, as_object

# Arguments removed in Keras 3, which have no effect with these values: the layer and the value.
REMOVED: dict[str, tuple[str, Json]] = {
    "time_major": ("", False),
    "renorm": ("", False),
    "fused": ("", None),
    "virtual_batch_size": ("", None),
    "groups": ("DepthwiseConv2D", 1),
    "ragged": ("InputLayer", False),
    "optional": ("InputLayer", False),
    "sparse": ("InputLayer", False),
}


def modernise(config: Json) -> Json:
    """A copy of a configuration for Keras 3.

    An input shape in the first layer becomes an input layer, and a dtype policy becomes its name.
    """
    if isinstance(config, list):
        return [modernise(item) for item in config]
    if not isinstance(config, dict):
        return config
    kind, inner = config.get("class_name"), config.get("config")
    if isinstance(kind, str) and isinstance(inner, dict | list):
        return {**config, "config": _modernise_object(kind, inner)}
    return {key: modernise(value) for key, value in config.items()}


def _modernise_object(kind: str, inner: dict[str, Json] | list[Json]) -> Json:
    if kind == "Sequential":
        return _modernise_sequential(inner)
    if isinstance(inner, list):
        return modernise(inner)
    options = dict(inner)
    shape = options.pop("batch_input_shape", None)
    if kind == "InputLayer" and shape is not None:
        options["batch_shape"] = shape
    for name, (layer, value) in REMOVED.items():
        if name in options and layer in ("", kind) and options[name] in (value, None):
            del options[name]
    policy = options.get("dtype")
    if isinstance(policy, dict) and policy.get("class_name") in ("Policy", "PolicyV1"):
        options["dtype"] = as_object(policy["config"], "the policy")["name"]
    axis = options.get("axis")
    if kind.startswith("BatchNormalization") and isinstance(axis, list) and len(axis) == 1:
        options["axis"] = axis[0]
    return modernise(options)


def _modernise_sequential(inner: dict[str, Json] | list[Json]) -> Json:
    options: dict[str, Json]
    options = {"name": "sequential", "layers": inner} if isinstance(inner, list) else inner
    layers = options.get("layers", [])
    if not isinstance(layers, list):
        raise TypeError("layers is not an array")
    entry = _input_layer(layers[0]) if layers else None
    if entry is not None:
        layers = [entry, *layers]
    return {**options, "layers": [modernise(layer) for layer in layers]}


def _input_layer(first: Json) -> dict[str, Json] | None:
    """The input layer for a first layer that has the input's shape; None if it has not."""
    if not isinstance(first, dict) or first.get("class_name") == "InputLayer":
        return None
    config = as_object(first.get("config", {}), "the configuration of the first layer")
    shape, dtype = config.get("batch_input_shape"), config.get("dtype")
    if shape is None:
        return None
    dtype = dtype if isinstance(dtype, str) else "float32"
    inner: dict[str, Json] = {"batch_input_shape": shape, "dtype": dtype, "name": "input_1"}
    entry: dict[str, Json] = {**first, "class_name": "InputLayer", "config": inner}
    entry.pop("build_config", None)
    if "module" in first:
        entry["module"] = "keras.layers"
    return entry
