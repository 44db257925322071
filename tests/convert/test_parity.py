"""A bundle that is not the same model is refused, whatever went wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelpad.convert import ImportRequest, convert_model, open_source
from modelpad.convert.batching import find_batching
from modelpad.convert.parity import Parity, check_parity
from modelpad.convert.pytorch import TorchSource
from modelpad.convert.reference import Reference
from modelpad.convert.source import TensorSpec
from modelpad.errors import ConversionFailed, ParityFailed
from modelpad.fields.arrays import Arrays

torch = pytest.importorskip("torch")


def make_net() -> Any:
    torch.manual_seed(0)
    n = torch.nn
    layers = [n.Conv2d(3, 4, 3, padding=1), n.BatchNorm2d(4), n.ReLU(), n.Dropout(0.5)]
    return n.Sequential(*layers, n.Flatten(), n.Linear(4 * 9, 3)).eval()


def open_net(kind: type[TorchSource] = TorchSource) -> TorchSource:
    return kind(make_net(), [TensorSpec("x", "float32", (None, 3, 3, 3))], "Module")


class WrongWeights(TorchSource):
    """A converter that loses a weight on the way."""

    def export(self) -> Any:
        weight = self.module.get_parameter("0.weight")
        kept = weight.data.clone()
        weight.data[0, 0, 0, 0] += 0.5
        graph = super().export()
        weight.data = kept
        return graph


class WrongLayout(TorchSource):
    """A converter that takes channels last where the model takes them first."""

    def export(self) -> Any:
        class Turned(torch.nn.Module):  # type: ignore[name-defined, misc]
            def __init__(self, inner: Any) -> None:
                super().__init__()
                self.inner = inner

            def forward(self, x: Any) -> Any:
                return self.inner(x.permute(0, 3, 1, 2))

        right = self.module
        self.module = Turned(right)
        graph = super().export()
        self.module = right
        return graph


PICTURE = ImportRequest(inputs=("image:3x3x3,scale=0..1",))


def test_the_right_converter_passes() -> None:
    conversion = convert_model(open_net(), "net", PICTURE)
    assert conversion.parity.relative_difference < 1e-5
    assert conversion.manifest.parity is not None
    assert conversion.manifest.parity["batches"] == [1, 7]


@pytest.mark.parametrize("broken", [WrongWeights, WrongLayout])
def test_a_broken_converter_is_caught(broken: type[TorchSource]) -> None:
    with pytest.raises(ParityFailed, match="output 'output' differs") as caught:
        convert_model(open_net(broken), "net", PICTURE)
    assert "the conversion changed the model" in caught.value.hint
    assert "--tolerance" not in caught.value.hint, "it would hide a mistake"
    assert caught.value.details["output"] == "output"


@pytest.mark.parametrize("layer", ["batch normalisation", "dropout"])
def test_a_model_in_training_mode_is_caught(tmp_path: Path, layer: str) -> None:
    """An exported program keeps the mode that it was exported in."""
    net = make_net()
    net[1 if layer == "batch normalisation" else 3].train()
    batch = torch.export.Dim("batch")
    program = torch.export.export(net, (torch.rand(2, 3, 3, 3),), dynamic_shapes=({0: batch},))
    torch.export.save(program, tmp_path / "net.pt2")
    with pytest.raises(ConversionFailed, match="training mode") as caught:
        convert_model(open_source(tmp_path / "net.pt2", PICTURE), "net", PICTURE)
    assert "eval()" in caught.value.hint


def test_a_fixed_batch_is_named() -> None:
    class Fixed(TorchSource):
        def export(self) -> Any:
            self.module.forward = lambda x, go=self.module.forward: go(x).reshape(2, 3)
            try:
                return super().export()
            finally:
                del self.module.forward

    with pytest.raises(ParityFailed):
        convert_model(open_net(Fixed), "net", PICTURE)


class Formula:
    """A source model that computes a formula."""

    framework = "numpy"
    facts: Mapping[str, Any] = {}
    classes: tuple[str, ...] = ()
    inputs = (TensorSpec("x", "float32", (None, None)),)
    outputs = (TensorSpec("y", "float32", (None, None)),)

    def __init__(self, formula: Callable[[Arrays], Arrays]) -> None:
        self.run = formula

    def hard_samples(self) -> Sequence[Arrays]:
        return ()

    def export(self) -> Any:
        raise NotImplementedError

    def files(self) -> Mapping[str, bytes | Path]:
        return {}


def test_numbers_that_are_not_numbers() -> None:
    samples: list[Arrays] = [{"x": np.zeros(2, np.float32)} for _ in range(3)]

    def answer(value: float) -> Any:
        return lambda batch: {"y": np.full((len(batch["x"]), 1), value, np.float32)}

    def check(source: Any, bundle: Any) -> Parity:
        return check_parity(Reference(Formula(source), samples), bundle)

    assert check(answer(np.nan), answer(np.nan)).largest_difference == 0
    for wrong in (np.nan, np.inf, 1.01):
        with pytest.raises(ParityFailed, match="'y' differs"):
            check(answer(1.0), answer(wrong))
    with pytest.raises(ParityFailed, match="shape"):
        check(answer(1.0), lambda batch: {"y": np.ones((1, 2), np.float32)})


def test_a_zero_may_differ_by_rounding() -> None:
    """Its neighbours tell what rounding is: 1e-8 beside 1 is, beside 1e-6 it is not."""
    rounding = np.array([1e-8], np.float32)

    def check(numbers: list[float]) -> Parity:
        samples: list[Arrays] = [{"x": np.array([number], np.float32)} for number in numbers]
        reference = Reference(Formula(lambda batch: {"y": batch["x"]}), samples)
        return check_parity(reference, lambda batch: {"y": np.add(batch["x"], rounding)})

    assert check([1.0, 0.0]).relative_difference < 1e-4
    with pytest.raises(ParityFailed):
        check([1e-6, 0.0])


@pytest.mark.parametrize(("samples", "asked"), [(14, [1] * 15 + [7] * 2), (3, [1] * 4 + [7])])
def test_the_source_is_asked_once_for_the_same(samples: int, asked: list[int]) -> None:
    """Only the first sample is predicted twice, to find random operations."""
    sizes = []

    def double(batch: Any) -> Any:
        return {"y": batch["x"] * 2}

    def count(batch: Any) -> Any:
        sizes.append(len(batch["x"]))
        return double(batch)

    values: list[Arrays] = [
        {"x": np.array([float(number)], np.float32)} for number in range(samples)
    ]
    reference = Reference(Formula(count), values)
    assert find_batching(reference).joins
    assert check_parity(reference, double).samples == samples
    assert sorted(sizes) == asked


@pytest.mark.slow
@pytest.mark.long
def test_a_refused_model_leaves_nothing(run_modelpad: Any, run_import: Any, tmp_path: Path) -> None:
    torch.save(make_net().state_dict(), tmp_path / "w.pt")
    (tmp_path / "mynet.py").write_text("import torch\n" + _source())
    words = ("w.pt", "--module", "mynet:make_net", "--input", "image:3x3x3,scale=0..1")
    done = run_import(*words, "--quantize", "int8", "--tolerance", "0")
    assert done.returncode == 1
    assert "differs from the source model" in done.stderr
    assert run_modelpad("models", "list", "--json").stdout.strip() == '{"models": []}'


def _source() -> str:
    import inspect

    return inspect.getsource(make_net).replace(" -> Any", "")


@pytest.mark.parametrize("kind", ["int8", "fp16"])
@pytest.mark.slow
def test_quantized_graphs_are_smaller_and_measured(
    run_import: Any, tmp_path: Path, kind: str
) -> None:
    keras = pytest.importorskip("keras")
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu", data_format="channels_last"),
            layers.Conv2D(64, 3, activation="relu", data_format="channels_last"),
            layers.MaxPooling2D(4, data_format="channels_last"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.save(tmp_path / "net.keras")
    scale = ("--input", "image,scale=0..1")
    done = run_import("net.keras", *scale, "--quantize", kind, "--json")
    assert done.returncode == 0, done.stderr
    import json

    facts = json.loads(done.stdout)
    assert facts["graph"]["bytes"] < facts["before"]["bytes"] * (0.4 if kind == "int8" else 0.6)
    assert facts["parity"]["label_agreement"] is not None
    assert facts["graph"]["latency_ms"] > 0


def test_a_picture_to_a_picture() -> None:
    """Both would be called `image`; a field's name is unique."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 3, padding=1), torch.nn.Sigmoid()).eval()
    source = TorchSource(net, [TensorSpec("x", "float32", (None, 3, 8, 8))], "Module")
    request = ImportRequest(inputs=("image:8x8x3,scale=0..1",), outputs=("image",))
    signature = convert_model(source, "net", request).manifest.signature
    assert [field.name for field in (*signature.inputs, *signature.outputs)] == [
        "image",
        "image_out",
    ]
