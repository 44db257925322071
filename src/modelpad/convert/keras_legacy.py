"""Configurations that Keras 2 wrote, put as Keras 3 reads them."""

from __future__ import annotations

from typing import Any

# Arguments that layers had, and that mean nothing any more when they have these values.
GONE: dict[str, tuple[str, Any]] = {
    "time_major": ("", False),
    "renorm": ("", False),
    "fused": ("", None),
    "virtual_batch_size": ("", None),
    "groups": ("DepthwiseConv2D", 1),
    "ragged": ("InputLayer", False),
    "optional": ("InputLayer", False),
    "sparse": ("InputLayer", False),
}


def modernise(config: Any) -> Any:
    """A copy of a model's configuration without what only Keras 2 knew.

    Input shapes that stood in a first layer become input layers, policies become names.
    """
    if isinstance(config, list):
        return [modernise(item) for item in config]
    if not isinstance(config, dict):
        return config
    inner = config.get("config")
    if isinstance(config.get("class_name"), str) and isinstance(inner, dict | list):
        return {**config, "config": _modernise_object(config["class_name"], inner)}
    return {key: modernise(value) for key, value in config.items()}


def _modernise_object(kind: str, inner: Any) -> Any:
    if kind == "Sequential":
        return _modernise_sequential(inner)
    if isinstance(inner, list):
        return modernise(inner)
    options = dict(inner)
    shape = options.pop("batch_input_shape", None)
    if kind == "InputLayer" and shape is not None:
        options["batch_shape"] = shape
    for name, (layer, value) in GONE.items():
        if name in options and layer in ("", kind) and options[name] in (value, None):
            del options[name]
    policy = options.get("dtype")
    if isinstance(policy, dict) and policy.get("class_name") in ("Policy", "PolicyV1"):
        options["dtype"] = policy["config"]["name"]
    axis = options.get("axis")
    if kind.startswith("BatchNormalization") and isinstance(axis, list) and len(axis) == 1:
        options["axis"] = axis[0]
    return modernise(options)


def _modernise_sequential(inner: Any) -> Any:
    options = {"name": "sequential", "layers": inner} if isinstance(inner, list) else dict(inner)
    layers = list(options.get("layers", []))
    first = layers[0] if layers else {}
    shape = first.get("config", {}).get("batch_input_shape") if isinstance(first, dict) else None
    if shape is not None and first.get("class_name") != "InputLayer":
        dtype = first["config"].get("dtype")
        dtype = dtype if isinstance(dtype, str) else "float32"
        entry = {"batch_input_shape": shape, "dtype": dtype, "name": "input_1"}
        layers.insert(0, {**first, "class_name": "InputLayer", "config": entry})
        layers[0].pop("build_config", None)
        if "module" in first:
            layers[0]["module"] = "keras.layers"
    return {**options, "layers": [modernise(layer) for layer in layers]}
