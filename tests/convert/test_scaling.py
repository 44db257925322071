"""What already scales an image is found in the graph, wherever the model does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from modelpad.convert import ImportRequest, convert_model, open_object
from modelpad.convert.scaling import find_scale
from modelpad.errors import UsageError

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")
layers: Any = keras.layers
SHAPE = (32, 32, 3)


def head(x: Any) -> Any:
    """The rest of a network, after its preparation."""
    x = layers.Conv2D(4, 3, strides=2, data_format="channels_last")(x)
    return layers.Dense(3, activation="softmax")(layers.Flatten()(x))


def build(prepare: Callable[[Any], Any]) -> Any:
    keras.utils.set_random_seed(1)
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, head(prepare(inputs)))


def normalization() -> Any:
    pixels = np.random.default_rng(0).uniform(0, 255, (20, *SHAPE)).astype(np.float32)
    layer = layers.Normalization(axis=-1)
    layer.adapt(pixels)
    return layer


def nested(x: Any) -> Any:
    inner = keras.Sequential([keras.Input(SHAPE), layers.Rescaling(1 / 255)])
    return inner(x)


def augmented(x: Any) -> Any:
    x = layers.RandomFlip("horizontal", data_format="channels_last")(x)
    x = layers.RandomRotation(0.1, data_format="channels_last")(x)
    return layers.Rescaling(1.0 / 255)(x)


def caffe(x: Any) -> Any:
    mean = np.array([103.939, 116.779, 123.68], np.float32)
    return keras.ops.flip(x, axis=-1) - mean


PREPARED: dict[str, Callable[[Any], Any]] = {
    "Rescaling": lambda x: layers.Rescaling(1.0 / 255)(x),
    "Rescaling to -1..1": lambda x: layers.Rescaling(1 / 127.5, offset=-1)(x),
    "Normalization": lambda x: normalization()(x),
    "operations": lambda x: x / 127.5 - 1.0,
    "preprocess_input": lambda x: keras.applications.mobilenet_v2.preprocess_input(x),
    "caffe": caffe,
    "Resizing first": lambda x: layers.Rescaling(1 / 255)(
        layers.Resizing(24, 24, data_format="channels_last")(x)
    ),
    "augmentation first": augmented,
    "a nested model": nested,
    "BatchNormalization second": lambda x: layers.BatchNormalization(axis=-1)(
        layers.Rescaling(1 / 255)(x)
    ),
}


@pytest.mark.parametrize("name", sorted(PREPARED))
def test_keras_models_that_scale_themselves(name: str) -> None:
    """Pixels 0..255 reach the model unscaled: its own prediction for the raw picture is served."""
    model = build(PREPARED[name])
    conversion = convert_model(open_object(model, ImportRequest()), "net", ImportRequest())
    (field,) = conversion.manifest.signature.inputs
    (binding,) = conversion.manifest.signature.input_bindings
    assert field.kind == "image"
    assert binding.steps == ()


def test_a_model_that_does_not_is_refused() -> None:
    model = build(lambda x: x)
    with pytest.raises(UsageError, match="which range") as caught:
        convert_model(open_object(model, ImportRequest()), "net", ImportRequest())
    assert "scale=0..1" in caught.value.hint
    kept = convert_model(open_object(model, ImportRequest()), "net", ImportRequest(ask=False))
    assert kept.manifest.signature.inputs[0].kind == "tensor"
    assert "range" in kept.notes[0]


def test_a_torch_model_with_imagenets_means_takes_0_to_1() -> None:
    class Net(torch.nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
            self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
            self.conv = torch.nn.Conv2d(3, 2, 3)

        def forward(self, pixels: Any) -> Any:
            return self.conv((pixels - self.mean) / self.std).mean(dim=(2, 3))

    request = ImportRequest(inputs=("image:16x16x3",))
    conversion = convert_model(open_object(Net().eval(), request), "net", request)
    (binding,) = conversion.manifest.signature.input_bindings
    assert [step.op for step in binding.steps] == ["affine", "transpose"]


def test_integers_are_never_scaled() -> None:
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["x"], ["f"], to=1),
            helper.make_node("ReduceMean", ["f"], ["y"], axes=[1, 2], keepdims=0),
        ],
        "g",
        [helper.make_tensor_value_info("x", 2, ["n", 9, 9, 3])],
        [helper.make_tensor_value_info("y", 1, ["n", 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    conversion = convert_model(open_object(model, ImportRequest()), "net", ImportRequest())
    (binding,) = conversion.manifest.signature.input_bindings
    assert [step.op for step in binding.steps] == ["cast"]


@pytest.mark.parametrize(
    ("factor", "offset", "expected"),
    [
        (1 / 255, 0.0, "none"),
        (2.0, -1.0, "0..1"),
        (1.0, -0.5, "0..1"),
        (1.0, -117.0, "none"),
        (255.0, 0.0, "0..1"),
        (0.1, 0.0, None),
        (1.0, 0.0, None),
    ],
)
def test_what_a_scale_says(factor: float, offset: float, expected: str | None) -> None:
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    constants = {"m": np.float32(factor), "b": np.float32(offset), "w": np.ones((2, 3, 3, 3), "f")}
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "m"], ["s"]),
            helper.make_node("Add", ["s", "b"], ["t"]),
            helper.make_node("Conv", ["t", "w"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", 1, ["n", 3, 9, 9])],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert find_scale(model, "x") == expected
