"""SavedModels, from the file to an answer over HTTP; `make test-frameworks` runs these.

TensorFlow is too heavy for every environment, so they are skipped where it is missing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

tensorflow = pytest.importorskip("tensorflow")


from modelpad.convert import ImportRequest, open_source  # noqa: E402
from modelpad.convert.tensorflow import list_signatures, open_signature  # noqa: E402
from modelpad.errors import ConversionFailed, NotTrusted, UsageError  # noqa: E402
from modelpad.runtime import load_onnxruntime  # noqa: E402

SCALED = ("--input", "image,scale=0..1")
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
    manifest = json.loads((tmp_path / "store" / "model" / "1" / "manifest.json").read_text())
    (serve,) = manifest["other_signatures"].values()
    assert serve["graph"] == "model.onnx", "Keras writes one function as two signatures"


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


@pytest.mark.slow
@pytest.mark.long
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


def test_keras_on_tensorflow(served: Any, model: Any, tmp_path: Path, assert_close: Any) -> None:
    model.save(tmp_path / "net.keras")
    check_pictures(served(str(tmp_path / "net.keras"), *SCALED), model, assert_close)


@pytest.mark.parametrize(
    "form", [pytest.param("whole", marks=(pytest.mark.slow, pytest.mark.long)), "pair"]
)
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
        ask = served(str(tmp_path / "model.h5"), *SCALED)
    else:
        (tmp_path / "model.json").write_text(net.to_json())
        net.save_weights(tmp_path / "model.h5")
        ask = served(str(tmp_path / "model.json"), str(tmp_path / "model.h5"), *SCALED)
    for _ in range(3):
        pixels = RNG.integers(0, 256, (10, 10, 3))
        expected = net.predict(pixels[None].astype(np.float32) / 255, verbose=0)[0]
        assert_close(ask({"image": pixels.tolist()}), expected)


class Named(tensorflow.Module):  # type: ignore[name-defined, misc]
    """Signatures whose names and shapes are unusual."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = tensorflow.Variable(RNG.normal(size=(4, 2)).astype(np.float32))

    @tensorflow.function  # type: ignore[untyped-decorator]
    def scale(self, x: Any, rate: Any, unused: Any) -> dict[str, Any]:
        return {"a/b": (x @ self.weight) * rate, "total:0": tensorflow.reduce_sum(x, 1)}

    @tensorflow.function  # type: ignore[untyped-decorator]
    def classify(self, examples: Any) -> dict[str, Any]:
        features = {"x": tensorflow.io.FixedLenFeature([4], tensorflow.float32)}
        return {"y": tensorflow.io.parse_example(examples, features)["x"] @ self.weight}

    @tensorflow.function  # type: ignore[untyped-decorator]
    def total(self, x: Any) -> dict[str, Any]:
        return {"sum": tensorflow.reduce_sum(x)}


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> tuple[Named, Path]:
    """A SavedModel with signatures for tensors, for serialized examples, and of unknown rank."""
    module, path = Named(), tmp_path_factory.mktemp("named") / "net"
    spec = tensorflow.TensorSpec
    rows = spec([None, 4], tensorflow.float32, name="x")
    scale = module.scale.get_concrete_function(
        rows,
        spec([], tensorflow.float32, name="rate"),
        spec([None, 1], tensorflow.string, name="unused"),
    )
    signatures = {
        "predict": scale,
        "classify": module.classify.get_concrete_function(
            spec([None], tensorflow.string, name="examples")
        ),
        "total": module.total.get_concrete_function(spec(None, tensorflow.float32, name="x")),
    }
    tensorflow.saved_model.save(module, str(path), signatures=signatures)
    return module, path


def test_signatures_are_listed_as_declared(named: tuple[Named, Path]) -> None:
    signatures = list_signatures(named[1])
    assert [*signatures] == ["classify", "predict", "total"]
    described = [(spec.name, spec.dtype, spec.shape) for spec in signatures["predict"].inputs]
    assert described == [
        ("rate", "float32", ()),
        ("unused", "string", (None, 1)),
        ("x", "float32", (None, 4)),
    ]
    assert [spec.batch_axis for spec in signatures["predict"].inputs] == [None, 0, 0]
    assert [spec.name for spec in signatures["predict"].outputs] == ["a/b", "total:0"]
    assert signatures["total"].reason == "'x' has no known rank"


def test_a_signature_keeps_its_names_and_ranks(named: tuple[Named, Path]) -> None:
    source = open_signature(named[1], "predict")
    assert [*source.other_signatures()] == ["classify"]
    rows = RNG.normal(size=(5, 4)).astype(np.float32)
    feed: dict[str, Any] = {"x": rows, "rate": np.array(3, np.float32)}
    feed["unused"] = np.full((5, 1), "é", object)
    expected = named[0].scale(rows, 3.0, feed["unused"])
    session = load_onnxruntime().InferenceSession(source.export().SerializeToString())
    assert [each.name for each in session.get_inputs()] == ["rate", "unused", "x"]
    graph = session.run(["a/b", "total:0"], feed)
    for name, output in zip(["a/b", "total:0"], graph, strict=True):
        ours: Any = source.run(feed)[name]
        np.testing.assert_allclose(ours, expected[name], rtol=1e-5)
        np.testing.assert_allclose(output, expected[name], rtol=1e-4, atol=1e-5)


def test_a_failure_names_its_reason(named: tuple[Named, Path]) -> None:
    source = open_source(named[1], ImportRequest(signature="classify"))
    with pytest.raises(RuntimeError, match="Could not parse example"):
        source.run({"examples": np.array(["no example"], object)})


def test_the_signature_must_be_chosen_if_none_is_the_default(named: tuple[Named, Path]) -> None:
    with pytest.raises(UsageError, match="signatures classify, predict, total") as caught:
        open_source(named[1], ImportRequest())
    assert "--signature" in caught.value.hint
    with pytest.raises(UsageError, match="no signature 'other'"):
        open_source(named[1], ImportRequest(signature="other"))


def test_a_signature_that_cannot_be_imported_says_why(named: tuple[Named, Path]) -> None:
    with pytest.raises(ConversionFailed, match="'x' has no known rank"):
        open_source(named[1], ImportRequest(signature="total"))
    source = open_source(named[1], ImportRequest(signature="classify"))
    assert [(spec.dtype, spec.shape) for spec in source.inputs] == [("string", (None,))]
    with pytest.raises(ConversionFailed, match="no equivalent for: ParseExampleV2"):
        source.export()


def test_a_signature_is_served_under_its_own_names(
    run_import: Any, serve: Any, named: tuple[Named, Path], tmp_path: Path
) -> None:
    done = run_import(str(named[1]), "--name", "net", "--signature", "predict")
    assert done.returncode == 0, done.stderr
    url = serve("net", store=tmp_path / "store").url
    inputs: dict[str, Any] = {
        "x": [[1, 2, 3, 4], [0, 0, 1, 0]],
        "rate": 2,
        "unused": [["a"], ["b"]],
    }
    answer = httpx.post(f"{url}/v1/models/net:predict", json={"inputs": inputs})
    assert answer.status_code == 200, answer.text
    expected = named[0].scale(np.float32(inputs["x"]), 2.0, inputs["unused"])
    for name, output in answer.json()["outputs"].items():
        np.testing.assert_allclose(output, expected[name], rtol=1e-4)


def scaling_layers() -> dict[str, tuple[list[Any], set[str]]]:
    """How models of TensorFlow's tutorials begin, and the first operators of their graphs."""
    import keras

    layers = keras.layers
    normalization = layers.Normalization()
    normalization.adapt(RNG.uniform(0, 255, (9, 8, 8, 3)).astype(np.float32))
    nested = keras.Sequential([layers.Input((8, 8, 3)), layers.Rescaling(1 / 127.5, -1)])
    return {
        "rescaling": ([layers.Rescaling(1 / 127.5, -1)], {"Mul", "Add"}),
        "normalization": ([normalization], {"Sub", "Mul"}),
        "nested": ([nested], {"Mul", "Add"}),
    }


@pytest.mark.parametrize(
    "case",
    [
        "rescaling",
        pytest.param("normalization", marks=(pytest.mark.slow, pytest.mark.long)),
        pytest.param("nested", marks=(pytest.mark.slow, pytest.mark.long)),
    ],
)
def test_scaling_stays_visible_at_the_input(case: str, tmp_path: Path) -> None:
    import keras

    begin, operators = scaling_layers()[case]
    end = [keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D()]
    model = keras.Sequential([keras.layers.Input((8, 8, 3), name="picture"), *begin, *end])
    model.export(tmp_path / "net", verbose=False)
    source = open_source(tmp_path / "net", ImportRequest())
    assert [(spec.name, spec.shape) for spec in source.inputs] == [("picture", (None, 8, 8, 3))]
    graph = source.export()
    assert {node.op_type for node in graph.graph.node[:2]} == operators
    pixels = RNG.uniform(0, 255, (2, 8, 8, 3)).astype(np.float32)
    session = load_onnxruntime().InferenceSession(graph.SerializeToString())
    (output,) = session.run(None, {"picture": pixels})
    np.testing.assert_allclose(output, model(pixels), rtol=1e-3, atol=1e-4)


def test_models_that_still_augment_are_refused(tmp_path: Path) -> None:
    """Keras exports augmentation layers in training mode: TensorFlow's own answers are random."""
    import keras

    layers = keras.layers
    model = keras.Sequential([layers.Input((8, 8, 3)), layers.RandomFlip(), layers.Flatten()])
    model.export(tmp_path / "net", verbose=False)
    source = open_source(tmp_path / "net", ImportRequest())
    with pytest.raises(ConversionFailed, match=r"draws random numbers \(Stateless"):
        source.export()


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


def test_damaged_folders_are_refused_in_words(run_import: Any, tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "saved_model.pb").write_bytes(b"\x12\xff\xff\xff rubbish")
    done = run_import("net", "--json")
    assert done.returncode == 1
    assert "defect" not in done.stderr
    assert not done.stdout or json.loads(done.stdout)
