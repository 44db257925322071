"""TensorFlow Lite models of many kinds: their raw contract is the interpreter's own.

`make test-frameworks` runs these.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

tensorflow = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")

import keras  # noqa: E402

from modelpad.convert import ImportRequest, open_source  # noqa: E402
from modelpad.convert.isolation import isolate  # noqa: E402
from modelpad.convert.tensorflow import list_signatures, open_signature  # noqa: E402
from modelpad.errors import ConversionFailed, UsageError  # noqa: E402
from modelpad.runtime import load_onnxruntime  # noqa: E402

layers, lite = keras.layers, tensorflow.lite
RNG = np.random.default_rng(5)
Convert = Callable[..., bytes]


class Mixer(tensorflow.Module):  # type: ignore[name-defined, misc]
    """Two signatures, of two inputs and of one."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = tensorflow.Variable(RNG.normal(size=(4, 2)).astype(np.float32))

    @tensorflow.function(  # type: ignore[untyped-decorator]
        input_signature=[
            tensorflow.TensorSpec([None, 4], tensorflow.float32, name="second"),
            tensorflow.TensorSpec([None, 4], tensorflow.float32, name="first"),
        ]
    )
    def mix(self, second: Any, first: Any) -> dict[str, Any]:
        return {
            "total": (first + 2 * second) @ self.weight,
            "apart": tensorflow.reduce_sum(first - second, axis=1),
        }

    @tensorflow.function(  # type: ignore[untyped-decorator]
        input_signature=[tensorflow.TensorSpec([None, 4], tensorflow.float32, name="x")]
    )
    def double(self, x: Any) -> dict[str, Any]:
        return {"y": 2 * (x @ self.weight)}


def convert_keras(body: list[Any], shape: tuple[int | None, ...], **options: Any) -> bytes:
    """A Keras model of `x` as a `.tflite` file; `options` are the converter's."""
    keras.utils.set_random_seed(3)
    inputs = layers.Input(shape, dtype=options.pop("dtype", "float32"), name="x")
    outputs = inputs
    for layer in body:
        outputs = layer(outputs)
    with tempfile.TemporaryDirectory() as folder:
        keras.Model(inputs, outputs).export(folder, verbose=False)
        return run_converter(lite.TFLiteConverter.from_saved_model(folder), **options)


def run_converter(converter: Any, **options: Any) -> bytes:
    converter.target_spec.supported_types = options.pop("types", [])
    converter.target_spec.supported_ops = options.pop("ops", [lite.OpsSet.TFLITE_BUILTINS])
    for key, value in options.items():
        setattr(converter, key, value)
    content: bytes = converter.convert()
    return content


def convert_lambda(body: Callable[..., Any], *specs: Any, **options: Any) -> bytes:
    function = tensorflow.function(body, input_signature=specs).get_concrete_function()
    converter = lite.TFLiteConverter.from_concrete_functions([function], tensorflow.Module())
    return run_converter(converter, **options)


def spec(shape: list[int | None], name: str = "x", dtype: Any = None) -> Any:
    return tensorflow.TensorSpec(shape, dtype or tensorflow.float32, name=name)


def picture_layers() -> list[Any]:
    return [
        layers.Conv2D(16, 3, activation="relu"),
        layers.DepthwiseConv2D(3, padding="same", activation="relu6"),
        layers.BatchNormalization(),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(3, activation="softmax"),
    ]


def convert_integers(dtype: Any) -> bytes:
    """A picture classifier of 8-bit integers, whose inputs and outputs have the dtype."""
    pictures = [RNG.random((1, 8, 8, 3)).astype(np.float32) for _ in range(8)]
    return convert_keras(
        picture_layers(),
        (8, 8, 3),
        optimizations=[lite.Optimize.DEFAULT],
        representative_dataset=lambda: ([picture] for picture in pictures),
        ops=[lite.OpsSet.TFLITE_BUILTINS_INT8],
        inference_input_type=dtype,
        inference_output_type=dtype,
    )


def convert_mixer(keys: list[str]) -> bytes:
    module = Mixer()
    with tempfile.TemporaryDirectory() as folder:
        signatures = {"mix": module.mix, "double": module.double}
        tensorflow.saved_model.save(module, folder, signatures=signatures)
        content: bytes = lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=keys
        ).convert()
        return content


def double_until_nine(x: Any) -> dict[str, Any]:
    return {"y": tensorflow.while_loop(lambda y: y[0, 0] < 9, lambda y: [y * 2 + 1], [x])[0]}


DEFAULT = [lite.Optimize.DEFAULT]
QUICK = ("convolutions", "int8", "several signatures", "loop")
KINDS: dict[str, Callable[[], bytes]] = {
    "float": lambda: convert_keras([layers.Dense(8, "relu"), layers.Dense(1)], (4,)),
    "convolutions": lambda: convert_keras(picture_layers(), (8, 8, 3)),
    "float16 weights": lambda: convert_keras(
        picture_layers(), (8, 8, 3), optimizations=DEFAULT, types=[tensorflow.float16]
    ),
    "dynamic range": lambda: convert_keras(
        [layers.Dense(64, "relu"), layers.Dense(32)], (64,), optimizations=DEFAULT
    ),
    "int8 inside": lambda: convert_integers(tensorflow.float32),
    "int8": lambda: convert_integers(tensorflow.int8),
    "uint8": lambda: convert_integers(tensorflow.uint8),
    "several inputs and outputs": lambda: convert_mixer(["mix"]),
    "several signatures": lambda: convert_mixer(["double", "mix"]),
    "free size": lambda: convert_keras(
        [layers.Conv2D(3, 3, padding="same", activation="sigmoid")], (None, None, 3)
    ),
    "resizing": lambda: convert_keras(
        [layers.Resizing(12, 12), layers.UpSampling2D(interpolation="bilinear")], (8, 8, 3)
    ),
    "unrolled LSTM": lambda: convert_keras([layers.LSTM(3, unroll=True)], (4, 5)),
    "loop": lambda: convert_lambda(double_until_nine, spec([1, 4])),
    "embedding": lambda: convert_keras(
        [layers.Embedding(20, 4), layers.GlobalAveragePooling1D()], (6,), dtype="int32"
    ),
    "GELU": lambda: convert_keras(
        [layers.Dense(6, "gelu"), layers.LayerNormalization()], (4,)
    ),
    "rank 1": lambda: convert_lambda(
        lambda x: {"y": tensorflow.squeeze(tensorflow.sigmoid(x), -1)}, spec([None, 1])
    ),
    "scalar input": lambda: convert_lambda(
        lambda x, rate: {"y": x * rate}, spec([None, 4]), spec([], "rate")
    ),
    "string output": lambda: convert_lambda(
        lambda x: {"y": tensorflow.gather(tensorflow.constant(["a", "é", "c"]), x)},
        spec([None], dtype=tensorflow.int32),
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=() if kind in QUICK else (pytest.mark.slow, pytest.mark.long))
        for kind in KINDS
    ],
)
def test_every_kind_agrees_with_the_interpreter(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(KINDS[kind]())
    interpreter = lite.Interpreter(model_path=str(path))
    assert set(list_signatures(path)) == set(interpreter.get_signature_list())
    for name in interpreter.get_signature_list():
        check_signature(interpreter, path, name)


def check_signature(interpreter: Any, path: Path, name: str) -> None:
    """One and seven items give the interpreter's own answers, from the source and the graph."""
    source = open_signature(path, name)
    runner = interpreter.get_signature_runner(name)
    for spec, detail in zip(source.inputs, sorted(runner.get_input_details().items()), strict=True):
        assert spec.name == detail[0]
        assert [side or -1 for side in spec.shape] == detail[1]["shape_signature"].tolist()
        assert np.dtype(spec.dtype) == detail[1]["dtype"]
    session = load_onnxruntime().InferenceSession(source.export().SerializeToString())
    assert [each.name for each in session.get_inputs()] == [each.name for each in source.inputs]
    fixed = any(spec.batch_axis == 0 and spec.shape[0] == 1 for spec in source.inputs)
    for size in (1,) if fixed else (1, 7):
        feed = {spec.name: make_input(spec, size) for spec in source.inputs}
        expected = runner(**feed)
        names = [each.name for each in session.get_outputs()]
        assert names == [each.name for each in source.outputs]
        check_outputs(source, source.run(feed), expected, exact=True)
        graph = dict(zip(names, session.run(None, feed), strict=True))
        check_outputs(source, graph, expected, exact=False)


def make_input(spec: Any, size: int) -> Any:
    sides = [
        (size if axis == spec.batch_axis else 6) if side is None else side
        for axis, side in enumerate(spec.shape)
    ]
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "f":
        return RNG.random(sides).astype(dtype)
    return RNG.integers(0, 3 if dtype == np.int32 else 127, sides).astype(dtype)


def check_outputs(source: Any, got: Any, expected: Any, *, exact: bool) -> None:
    for name, array in expected.items():
        if array.dtype == object:
            assert got[name].tolist() == [each.decode() for each in array]
            continue
        assert (got[name].dtype, got[name].shape) == (array.dtype, array.shape)
        accepted = (source.tolerance or 1e-5) * float(np.abs(array).max())
        accepted = 0.0 if exact else max(accepted, source.quanta.get(name, 0.0))
        distance = np.abs(got[name].astype(np.float64) - array.astype(np.float64)).max()
        assert distance <= accepted


def test_quantization_is_in_the_facts(tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(KINDS["uint8"]())
    source: Any = open_source(tmp_path / "net.tflite", ImportRequest())
    assert source.facts["quantization"] == "full integer"
    assert source.facts["scales"]["output_0"] == {"scale": 1 / 256, "zero_point": 0}
    assert source.quanta == {"output_0": 1.0}
    assert [sample["x"].max() for sample in source.hard_samples()] == [0, 255]


def convert_determinant(**options: Any) -> bytes:
    return convert_lambda(lambda x: {"y": tensorflow.linalg.det(x)}, spec([None, 3, 3]), **options)


REASONS: dict[str, tuple[Callable[[], bytes], str]] = {
    "custom operator": (
        lambda: convert_determinant(allow_custom_ops=True),
        r"no equivalent for: MatrixDeterminant",
    ),
    "operator of TensorFlow": (
        lambda: convert_determinant(
            ops=[lite.OpsSet.TFLITE_BUILTINS, lite.OpsSet.SELECT_TF_OPS]
        ),
        r"operators of TensorFlow that TensorFlow Lite does not have: MatrixDeterminant",
    ),
    "string operator": (
        lambda: convert_lambda(
            lambda x: {"y": tensorflow.strings.length(x)},
            spec([None], dtype=tensorflow.string),
            allow_custom_ops=True,
        ),
        r"no equivalent for: StringLength",
    ),
    "damaged": (lambda: KINDS["float"]()[:400], r"cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("case", REASONS)
def test_the_reason_is_the_true_one(case: str, tmp_path: Path) -> None:
    build, reason = REASONS[case]
    (tmp_path / "net.tflite").write_bytes(build())
    with pytest.raises(ConversionFailed, match=reason):
        open_source(tmp_path / "net.tflite", ImportRequest())


def test_one_of_several_signatures_is_chosen(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(KINDS["several signatures"]())
    with pytest.raises(UsageError, match="signatures double, mix"):
        open_source(path, ImportRequest())
    with pytest.raises(UsageError, match="no signature 'other'"):
        open_source(path, ImportRequest(signature="other"))
    source = open_signature(path, "mix")
    assert [spec.name for spec in source.inputs] == ["first", "second"]
    assert source.signature_name == "mix"
    (double,) = source.other_signatures().values()
    assert [spec.name for spec in double.inputs] == ["x"]


def test_a_crash_names_the_signal_and_the_last_words() -> None:
    def crash() -> bytes:
        os.write(2, b"Check failed: shape\n")
        os.kill(os.getpid(), signal.SIGABRT)
        return b""

    with pytest.raises(ConversionFailed, match=r"Running it crashed \(SIGABRT\): Check failed"):
        isolate(crash, "Running it")


def test_the_interpreter_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.tflite").write_bytes(KINDS["float"]())
    capfd.readouterr()
    source = open_source(tmp_path / "net.tflite", ImportRequest())
    source.run({"x": np.ones((2, 4), np.float32)})
    source.export()
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.long
def test_integers_are_served_unaltered(run_import: Any, serve: Any, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(KINDS["uint8"]())
    done = run_import(str(path), "--name", "net", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["name"] == "net"
    pixels = RNG.integers(0, 256, (1, 8, 8, 3)).astype(np.uint8)
    expected = lite.Interpreter(model_path=str(path)).get_signature_runner()(x=pixels)["output_0"]
    tensor = {"name": "x", "shape": [1, 8, 8, 3], "datatype": "UINT8", "data": pixels.tolist()}
    url = serve("net", store=tmp_path / "store").url
    answer = httpx.post(f"{url}/v2/models/net/infer", json={"inputs": [tensor]}).json()
    (output,) = answer["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("output_0", "UINT8", [1, 3])
    assert np.abs(np.array(output["data"]) - expected.ravel().astype(int)).max() <= 1
