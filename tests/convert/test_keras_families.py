"""Families of Keras models: each is exported and compared with Keras on raw inputs."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelpad.convert.source import ImportRequest
from modelpad.errors import ConversionFailed, NotTrusted
from tests.convert.raw_parity import check_raw_parity

keras = pytest.importorskip("keras")
if keras.backend.backend() != "torch":
    pytest.skip("these tests are for Keras on PyTorch", allow_module_level=True)
layers = keras.layers
LAST = {"data_format": "channels_last"}


def open_model(model: Any, *inputs: str) -> Any:
    from modelpad.convert.keras_source import KerasSource

    return KerasSource(model, ImportRequest(inputs=inputs))


def make_transformer() -> Any:
    words = layers.Input((None,), dtype="int32", name="words")
    seen = layers.Embedding(50, 8)(words)
    attended = layers.MultiHeadAttention(2, 4)(seen, seen)
    normal = layers.LayerNormalization()(layers.Add()([seen, attended]))
    return keras.Model(words, layers.Dense(3)(layers.GlobalAveragePooling1D(**LAST)(normal)))


def make_odd_pooling() -> Any:
    picture = layers.Input((15, 13, 3))
    pooled = layers.MaxPooling2D(3, 2, padding="same", **LAST)(picture)
    return keras.Model(picture, layers.Conv2D(2, 3, strides=2, padding="same", **LAST)(pooled))


def make_volume() -> Any:
    volume = layers.Input((6, 8, 8, 2))
    seen = layers.Conv3D(3, 2, padding="same", **LAST)(volume)
    return keras.Model(volume, layers.GlobalAveragePooling3D(**LAST)(seen))


def make_separable() -> Any:
    picture = layers.Input((None, None, 3))
    seen = layers.SeparableConv2D(4, 3, strides=2, padding="same", **LAST)(picture)
    return keras.Model(picture, layers.GlobalMaxPooling2D(**LAST)(seen))


FAMILIES: dict[str, tuple[Callable[[], Any], dict[str, tuple[int, ...]]]] = {
    "transformer": (make_transformer, {"words": (19,)}),
    "pooling of odd sides": (make_odd_pooling, {}),
    "three dimensions": (make_volume, {}),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_agrees_on_raw_inputs(family: str) -> None:
    keras.utils.set_random_seed(3)
    make, sizes = FAMILIES[family]
    check_raw_parity(open_model(make()), sizes)


MASKED = {
    "lstm": lambda: layers.LSTM(4),
    "gru": lambda: layers.GRU(4, return_sequences=True),
    "bidirectional": lambda: layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
}


@pytest.mark.parametrize("kind", MASKED)
def test_masked_recurrence_of_any_length(kind: str) -> None:
    keras.utils.set_random_seed(3)
    words = layers.Input((None,), dtype="int32", name="words")
    model = keras.Model(words, MASKED[kind]()(layers.Embedding(9, 5, mask_zero=True)(words)))
    graph = check_raw_parity(open_model(model), {"words": (7,)})
    from modelpad.runtime import load_onnxruntime

    onnxruntime = load_onnxruntime()

    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    rows = np.array([[0, 0, 3, 4, 0], [1, 2, 0, 0, 0], [0, 0, 0, 0, 0]], np.int32)
    expected = model.predict_on_batch(rows)
    np.testing.assert_allclose(session.run(None, {"words": rows})[0], expected, atol=1e-6)


def test_examples_are_as_large_as_the_user_says() -> None:
    source = open_model(make_separable(), "image:64x48x3,scale=none")
    assert {sample[source.inputs[0].name].shape for sample in source.hard_samples()} == {
        (64, 48, 3)
    }
    check_raw_parity(source, {source.inputs[0].name: (40, 56, 3)})


def test_examples_are_as_large_as_the_samples(tmp_path: Path) -> None:
    from modelpad.convert.keras_source import KerasSource

    np.savez(tmp_path / "samples.npz", picture=np.zeros((2, 40, 32, 3), np.float32))
    source = KerasSource(make_separable(), ImportRequest(samples=tmp_path / "samples.npz"))
    assert source.hard_samples()[0][source.inputs[0].name].shape == (40, 32, 3)


def test_a_free_picture_model_is_exported_at_a_size_that_it_accepts() -> None:
    picture = layers.Input((None, None, 3))
    seen = picture
    for _ in range(5):
        seen = layers.Conv2D(2, 5, strides=2, **LAST)(seen)  # rejects 96 pixels
    model = keras.Model(picture, layers.GlobalAveragePooling2D(**LAST)(seen))
    check_raw_parity(open_model(model), {model.inputs[0].name: (200, 160, 3)})


def test_names_are_those_of_keras() -> None:
    left, right = layers.Input((3,), name="z.left"), layers.Input((3,), name="a-right")
    shared = layers.Dense(2, name="head")
    source = open_model(keras.Model([left, right], [shared(left), shared(right)]))
    assert [spec.name for spec in source.inputs] == ["z.left", "a-right"]
    assert [spec.name for spec in source.outputs] == ["head", "head_2"]
    check_raw_parity(source)


def test_a_dictionary_keeps_its_keys() -> None:
    left, right = layers.Input((3,), name="first"), layers.Input((2,), name="second")
    model = keras.Model(
        {"z": left, "a": right}, {"y": layers.Dense(2)(left), "b": layers.Dense(1)(right)}
    )
    source = open_model(model)
    assert {spec.name: spec.item_shape for spec in source.inputs} == {"z": (3,), "a": (2,)}
    assert {spec.name: spec.item_shape for spec in source.outputs} == {"y": (2,), "b": (1,)}
    check_raw_parity(source)


def test_a_fixed_batch_is_kept() -> None:
    picture = layers.Input(batch_shape=(2, 6), name="rows")
    source = open_model(keras.Model(picture, layers.Dense(3)(picture)))
    assert (source.inputs[0].shape, source.inputs[0].batch_axis) == ((2, 6), None)
    assert (source.outputs[0].shape, source.outputs[0].batch_axis) == ((2, 3), None)


def test_a_stateful_layer_is_refused_by_name() -> None:
    steps = layers.Input(batch_shape=(1, 5, 3))
    model = keras.Model(steps, layers.LSTM(2, stateful=True, name="memory")(steps))
    with pytest.raises(ConversionFailed, match="'memory' is stateful"):
        open_model(model)


CUSTOM = """
import keras

@keras.saving.register_keras_serializable(package="mine")
class Scale(keras.layers.Layer):
    def __init__(self, factor=2.0, **options):
        super().__init__(**options)
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}
"""


@pytest.fixture
def custom(tmp_path: Path) -> Path:
    """A saved model with a layer that this process does not know any more."""
    made: dict[str, Any] = {"__name__": "scale"}
    (tmp_path / "scale.py").write_text(CUSTOM)
    exec(CUSTOM, made)
    model = keras.Sequential([layers.Input((3,)), made["Scale"](3.0), layers.Dense(2)])
    model.save(tmp_path / "custom.keras")
    keras.saving.get_custom_objects().clear()
    return tmp_path / "custom.keras"


def test_custom_layers_of_a_file(custom: Path) -> None:
    from modelpad.convert.keras import open_keras

    with pytest.raises(NotTrusted, match="a custom object") as caught:
        open_keras(custom, ImportRequest())
    assert "--module FILE.py" in caught.value.hint
    source = open_keras(custom, ImportRequest(factory=str(custom.with_name("scale.py"))))
    check_raw_parity(source)
    keras.saving.get_custom_objects().clear()
    with pytest.raises(ConversionFailed, match="uses Scale, which is not a part of Keras"):
        open_keras(custom, ImportRequest(trust=True))


def test_a_file_allows_its_own_layers_only(custom: Path) -> None:
    from modelpad.convert.keras import open_keras

    config = json.loads(zipfile.ZipFile(custom).read("config.json"))
    config["config"]["layers"][2]["registered_name"] = "other>Scale"
    changed = custom.with_name("changed.keras")
    with zipfile.ZipFile(custom) as before, zipfile.ZipFile(changed, "w") as after:
        for name in before.namelist():
            body = json.dumps(config) if name == "config.json" else before.read(name)
            after.writestr(name, body)
    with pytest.raises(NotTrusted):
        open_keras(changed, ImportRequest(factory=str(custom.with_name("scale.py"))))


def test_a_text_layer_is_refused_with_the_reason(tmp_path: Path) -> None:
    from modelpad.convert.keras import open_keras

    inner = {"name": "words", "max_tokens": 10, "vocabulary": ["a", "b"]}
    entry = {"name": "text", "batch_shape": [None, 1], "dtype": "string"}
    config = {
        "module": "keras",
        "class_name": "Sequential",
        "config": {
            "name": "net",
            "layers": [
                {"module": "keras.layers", "class_name": "InputLayer", "config": entry},
                {"module": "keras.layers", "class_name": "TextVectorization", "config": inner},
            ],
        },
    }
    path = tmp_path / "text.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", "{}")
    with pytest.raises(ConversionFailed, match="has the TextVectorization layer 'words'") as caught:
        open_keras(path, ImportRequest())
    assert "SavedModel" in caught.value.hint


def test_an_import_prints_only_its_result(run_modelpad: Any, tmp_path: Path) -> None:
    model = keras.Sequential([layers.Input((5, 3)), layers.LayerNormalization(), layers.Dense(2)])
    model.save(tmp_path / "net.keras")
    done = run_modelpad("import", "net.keras", "--input", "tensor", "--output", "tensor", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["name"] == "net"
    assert done.stderr == ""


APPLICATIONS = {
    "ConvNeXtTiny": (64, 64, 3),
    "MobileNetV3Small": (64, 64, 3),
    "Xception": (75, 75, 3),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "MobileNetV3Small",
        pytest.param("ConvNeXtTiny", marks=pytest.mark.long),
        pytest.param("Xception", marks=pytest.mark.long),
    ],
)
def test_an_application_of_free_size(name: str) -> None:
    keras.utils.set_random_seed(3)
    make = getattr(keras.applications, name)
    height, width, _ = APPLICATIONS[name]
    model = make(weights=None, include_top=False, input_shape=(None, None, 3))
    source = open_model(model, f"image:{height}x{width}x3,scale=none")
    check_raw_parity(source, {source.inputs[0].name: APPLICATIONS[name]})
