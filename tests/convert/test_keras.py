"""Keras models of every form, from the file to an answer over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

SCALED = ("--input", "image,scale=0..1")
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def keras() -> Any:
    module = pytest.importorskip("keras")
    module.utils.set_random_seed(3)
    return module


def make_convolution(keras: Any) -> Any:
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((16, 16, 3)),
            layers.Conv2D(6, 3, activation="relu", data_format="channels_last"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(data_format="channels_last"),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(4, activation="softmax"),
        ]
    )
    normal = model.layers[1]
    normal.set_weights([RNG.uniform(0.5, 1.5, 6) for _ in range(4)])
    return model


def check_pictures(ask: Any, model: Any, assert_close: Any, scale: float = 255.0) -> None:
    for _ in range(3):
        picture = RNG.integers(0, 256, (16, 16, 3))
        expected = model(picture[None].astype(np.float32) / scale, training=False)
        assert_close(ask({"image": picture.tolist()}), np.asarray(expected.detach())[0])


@pytest.mark.slow
def test_keras_archive(served: Any, keras: Any, tmp_path: Path, assert_close: Any) -> None:
    model = make_convolution(keras)
    model.save(tmp_path / "net.keras")
    ask = served(str(tmp_path / "net.keras"), *SCALED)
    check_pictures(ask, model, assert_close)


@pytest.mark.slow
@pytest.mark.long
def test_architecture_and_weights(
    served: Any, keras: Any, tmp_path: Path, assert_close: Any
) -> None:
    model = make_convolution(keras)
    (tmp_path / "net.json").write_text(model.to_json())
    model.save_weights(tmp_path / "net.weights.h5")
    ask = served(
        str(tmp_path / "net.json"),
        str(tmp_path / "net.weights.h5"),
        "--input",
        "image:16x16x3,scale=-1..1",
        "--output",
        "labels:0,1,2,3",
    )
    for _ in range(3):
        picture = RNG.integers(0, 256, (16, 16, 3))
        expected = model(picture[None].astype(np.float32) / 127.5 - 1, training=False)
        assert_close(ask({"image": picture.tolist()}), np.asarray(expected.detach())[0])


@pytest.mark.slow
@pytest.mark.long
def test_legacy_whole_model(served: Any, keras: Any, tmp_path: Path, assert_close: Any) -> None:
    model = make_convolution(keras)
    model.save(tmp_path / "net.h5")
    check_pictures(served(str(tmp_path / "net.h5"), *SCALED), model, assert_close)


@pytest.mark.slow
@pytest.mark.long
def test_legacy_weights_alone(served: Any, keras: Any, tmp_path: Path, assert_close: Any) -> None:
    """The classic pair: model.json, and weights as `save_weights("model.h5")` once wrote them."""
    import h5py
    from keras.src.legacy.saving import legacy_h5_format

    model = make_convolution(keras)
    (tmp_path / "model.json").write_text(model.to_json())
    with h5py.File(tmp_path / "model.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    ask = served(str(tmp_path / "model.json"), str(tmp_path / "model.h5"), *SCALED)
    check_pictures(ask, model, assert_close)


@pytest.mark.slow
@pytest.mark.long
def test_several_inputs_and_outputs(
    served: Any, keras: Any, tmp_path: Path, assert_close: Any
) -> None:
    layers = keras.layers
    age, picture = layers.Input((5,), name="age"), layers.Input((8, 8, 1), name="picture")
    seen = layers.Flatten()(layers.Conv2D(3, 3, data_format="channels_last")(picture))
    both = layers.Concatenate()([layers.Dense(4)(age), seen])
    kind = layers.Dense(3, activation="softmax", name="kind")(both)
    model = keras.Model([age, picture], [kind, layers.Dense(1, name="value")(both)])
    model.save(tmp_path / "two.keras")
    ask = served(str(tmp_path / "two.keras"), "--input", "picture=image:8x8x1,scale=none")
    numbers, pixels = RNG.normal(size=5).round(3), RNG.integers(0, 256, (8, 8, 1))
    answer = ask({"age": numbers.tolist(), "picture": pixels.tolist()})["outputs"]
    expected = model([numbers[None].astype(np.float32), pixels[None].astype(np.float32)])
    assert_close(answer["kind"], np.asarray(expected[0].detach())[0])
    assert answer["value"] == pytest.approx(float(expected[1]), rel=1e-4, abs=1e-4)


@pytest.mark.slow
@pytest.mark.long
def test_recurrence(served: Any, keras: Any, tmp_path: Path, assert_close: Any) -> None:
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((None,), dtype="int32", name="words"),
            layers.Embedding(50, 8),
            layers.Bidirectional(layers.LSTM(6, return_sequences=True)),
            layers.GRU(5),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.save(tmp_path / "text.keras")
    ask = served(str(tmp_path / "text.keras"), "--output", "labels:bad,good")
    for length in (3, 17):
        words = RNG.integers(0, 50, length)
        expected = np.asarray(model(words[None]).detach())[0]
        assert_close(ask({"words": words.tolist()}), expected)


@pytest.mark.slow
def test_the_classic_pair_gives_the_drawing_pad(
    run_modelpad: Any, run_import: Any, keras: Any, tmp_path: Path
) -> None:
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    (tmp_path / "model.json").write_text(model.to_json())
    model.save(tmp_path / "model.h5")
    done = run_import(
        *("model.json", "model.h5", "--name", "digits2"),
        *("--input", "sketch:28x28,scale=0..1"),
        *("--output", "labels:0,1,2,3,4,5,6,7,8,9", "--json"),
    )
    assert done.returncode == 0, done.stderr
    shown = run_modelpad("models", "show", "digits2", "--json").stdout
    assert '"drawing-pad"' in shown


def test_a_live_model_is_saved(
    served: Any, keras: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, assert_close: Any
) -> None:
    import modelpad

    model = make_convolution(keras)
    pictures = RNG.integers(0, 256, (9, 16, 16, 3)).astype(np.uint8)
    entry = modelpad.save(
        model,
        "model",
        inputs="image:16x16x3,scale=0..1",
        outputs="labels:0,1,2,3",
        samples=pictures,
        store=tmp_path / "store",
    )
    assert (entry.name, entry.version) == ("model", 1)
    check_pictures(served(saved="model"), model, assert_close)


@pytest.mark.slow
@pytest.mark.long
def test_export_back_is_the_same_model(
    run_modelpad: Any, run_import: Any, keras: Any, tmp_path: Path
) -> None:
    model = make_convolution(keras)
    model.save(tmp_path / "net.keras")
    assert run_import("net.keras", "--input", "image,scale=0..1").returncode == 0
    done = run_modelpad("export", "net", "--to", "keras", "back")
    assert done.returncode == 0, done.stderr
    again = keras.models.load_model(tmp_path / "back" / "model.keras")
    pixels = RNG.uniform(0, 1, (2, 16, 16, 3)).astype(np.float32)
    np.testing.assert_allclose(again.predict(pixels), model.predict(pixels), atol=1e-6)
    assert run_modelpad("export", "net", "--to", "onnx", "back").returncode == 2
    done = run_modelpad("export", "net", "--to", "onnx", "graph")
    assert sorted(path.name for path in (tmp_path / "graph").iterdir()) == [
        "model.onnx",
        "signature.json",
    ]


def write_as_keras_2(layers: list[dict[str, Any]]) -> dict[str, Any]:
    """A configuration as Keras 2.2.4 wrote it: no modules, the input's shape in the first layer."""
    return {
        "class_name": "Sequential",
        "config": {"name": "sequential_1", "layers": layers},
        "keras_version": "2.2.4",
        "backend": "tensorflow",
    }


@pytest.mark.parametrize("older", [False, True], ids=["2.2", "2.0"])
def test_configurations_of_keras_2(keras: Any, older: bool) -> None:
    from modelpad.convert.keras import build_from_config

    start = {"class_name": "VarianceScaling", "config": {"scale": 1.0, "mode": "fan_avg"}}
    shape = {"batch_input_shape": [None, 12, 12, 2], "dtype": "float32"}
    last = {"data_format": "channels_last"}
    config = write_as_keras_2(
        [
            {
                "class_name": "DepthwiseConv2D",
                "config": shape | last | {"name": "a", "kernel_size": [3, 3], "groups": 1},
            },
            {
                "class_name": "BatchNormalization",
                "config": {"name": "b", "axis": [3], "renorm": False, "fused": None},
            },
            {"class_name": "Reshape", "config": {"name": "c", "target_shape": [100, 2]}},
            {
                "class_name": "LSTM",
                "config": {"name": "d", "units": 3, "time_major": False, "implementation": 1},
            },
            {
                "class_name": "Dense",
                "config": {"name": "e", "units": 4, "kernel_initializer": start},
            },
        ]
    )
    if older:
        config["config"] = config["config"]["layers"]
    model = build_from_config(config)
    assert model.input_shape == (None, 12, 12, 2)
    assert model.output_shape == (None, 4)
