"""TensorFlow's forms, from the file to an answer over HTTP; `make test-tensorflow` runs these.

TensorFlow is too heavy for every environment, so they are skipped where it is missing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

tensorflow = pytest.importorskip("tensorflow")

from modelpad.convert import ImportRequest, open_source  # noqa: E402
from modelpad.errors import NotTrusted  # noqa: E402

RNG = np.random.default_rng(4)


@pytest.fixture(scope="module")
def model() -> Any:
    import keras

    keras.utils.set_random_seed(1)
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((10, 10, 3)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )


def check_pictures(ask: Any, model: Any, assert_close: Any) -> None:
    for _ in range(3):
        pixels = RNG.integers(0, 256, (10, 10, 3))
        expected = np.asarray(model(pixels[None].astype(np.float32) / 255))[0]
        assert_close(ask({"image": pixels.tolist()}), expected)


def test_saved_model(served: Any, model: Any, tmp_path: Path, assert_close: Any) -> None:
    model.export(tmp_path / "net")
    ask = served(str(tmp_path / "net"), "--input", "image:10x10x3,scale=0..1")
    check_pictures(ask, model, assert_close)


class Signed(tensorflow.Module):  # type: ignore[name-defined, misc]
    """A module with a signature of two inputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = tensorflow.Variable(RNG.normal(size=(4, 2)).astype(np.float32))

    @tensorflow.function(  # type: ignore[untyped-decorator]
        input_signature=[
            tensorflow.TensorSpec([None, 4], tensorflow.float32, name="first"),
            tensorflow.TensorSpec([None, 4], tensorflow.float32, name="second"),
        ]
    )
    def mix(self, first: Any, second: Any) -> dict[str, Any]:
        return {
            "total": (first + 2 * second) @ self.weight,
            "apart": tensorflow.reduce_sum(first - second, axis=1),
        }


def test_saved_model_with_a_signature_of_several(
    served: Any, tmp_path: Path, assert_close: Any
) -> None:
    module = Signed()
    tensorflow.saved_model.save(module, str(tmp_path / "net"), signatures={"mix": module.mix})
    ask = served(str(tmp_path / "net"))
    first, second = RNG.normal(size=(2, 4)).round(3).astype(np.float32)
    answer = ask({"first": first.tolist(), "second": second.tolist()})["outputs"]
    expected = module.mix(first[None], second[None])
    assert_close(answer["total"], expected["total"][0])
    assert_close(answer["apart"], expected["apart"][0])


def test_tflite(served: Any, model: Any, tmp_path: Path, assert_close: Any) -> None:
    model.export(tmp_path / "net")
    converter = tensorflow.lite.TFLiteConverter.from_saved_model(str(tmp_path / "net"))
    (tmp_path / "net.tflite").write_bytes(converter.convert())
    ask = served(str(tmp_path / "net.tflite"), "--input", "image:10x10x3,scale=0..1")
    check_pictures(ask, model, assert_close)


def test_keras_on_tensorflow(served: Any, model: Any, tmp_path: Path, assert_close: Any) -> None:
    model.save(tmp_path / "net.keras")
    check_pictures(served(str(tmp_path / "net.keras")), model, assert_close)


@pytest.mark.parametrize("form", ["whole", "pair"])
def test_files_that_keras_2_wrote(
    served: Any, tmp_path: Path, assert_close: Any, form: str
) -> None:
    older = pytest.importorskip("tf_keras")
    layers = older.layers
    net = older.Sequential(
        [
            layers.Conv2D(4, 3, activation="relu", input_shape=(10, 10, 3)),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(3, activation="softmax"),
        ]
    )
    if form == "whole":
        net.save(tmp_path / "model.h5")
        ask = served(str(tmp_path / "model.h5"))
    else:
        (tmp_path / "model.json").write_text(net.to_json())
        net.save_weights(tmp_path / "model.h5")
        ask = served(str(tmp_path / "model.json"), str(tmp_path / "model.h5"))
    for _ in range(3):
        pixels = RNG.integers(0, 256, (10, 10, 3))
        expected = net.predict(pixels[None].astype(np.float32) / 255, verbose=0)[0]
        assert_close(ask({"image": pixels.tolist()}), expected)


def test_saved_models_that_run_python_are_refused(tmp_path: Path) -> None:
    class Bomb(tensorflow.Module):  # type: ignore[name-defined, misc]
        @tensorflow.function(  # type: ignore[untyped-decorator]
            input_signature=[tensorflow.TensorSpec([None, 4], tensorflow.float32)]
        )
        def run(self, x: Any) -> Any:
            return tensorflow.py_function(lambda value: value + 1, [x], tensorflow.float32)

    module = Bomb()
    tensorflow.saved_model.save(module, str(tmp_path / "net"), signatures=module.run)
    with pytest.raises(NotTrusted, match="EagerPyFunc"):
        open_source(tmp_path / "net", ImportRequest())


def test_saved_models_that_touch_files_are_refused(tmp_path: Path) -> None:
    class Reader(tensorflow.Module):  # type: ignore[name-defined, misc]
        @tensorflow.function(  # type: ignore[untyped-decorator]
            input_signature=[tensorflow.TensorSpec([None], tensorflow.string)]
        )
        def run(self, names: Any) -> Any:
            return tensorflow.map_fn(tensorflow.io.read_file, names)

    module = Reader()
    tensorflow.saved_model.save(module, str(tmp_path / "net"), signatures=module.run)
    with pytest.raises(NotTrusted, match="ReadFile"):
        open_source(tmp_path / "net", ImportRequest())


def test_damaged_folders_are_refused_in_words(run_modelpad: Any, tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "saved_model.pb").write_bytes(b"\x12\xff\xff\xff rubbish")
    done = run_modelpad("import", "net", "--json")
    assert done.returncode == 1
    assert "defect" not in done.stderr
    assert not done.stdout or json.loads(done.stdout)
