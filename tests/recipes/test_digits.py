"""The digits recipe: the architectures as described, repeatable, resumable, stoppable."""

from __future__ import annotations

import io
import json
import signal
import subprocess
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from modelpad.bundle import open_bundle
from modelpad.engine import Session
from modelpad.errors import ParityFailed, TrainingFailed, UsageError
from modelpad.recipes.digits import RECIPE, ArchitectureName, DigitsOptions
from modelpad.recipes.digits.data import load_splits
from modelpad.training.pipeline import Outcome
from modelpad.training.pipeline import train as run_recipe
from modelpad.training.run import Run, TrainRequest
from tests.killed_runs import start_training, stop_after

CONV = "Conv2D 32 (3, 3), Conv2D 64 (3, 3), MaxPooling2D (2, 2), Dropout 0.25, Flatten, Dense 128"
LAYERS = {
    "conv": f"{CONV}, Dropout 0.5, Dense 10",
    "mini": "Conv2D 16 (5, 5), MaxPooling2D (2, 2), Conv2D 32 (5, 5), MaxPooling2D (2, 2),"
    " Flatten, Dense 1000, Dense 10",
    "mlp": "Flatten, Dense 256, Dense 128, Dense 10",
}


def train(
    folder: Path,
    *,
    architecture: ArchitectureName = "mlp",
    no_unknown: bool = False,
    **options: Any,
) -> Outcome:
    asked: dict[str, Any] = {"name": "digits", "data": "uci-digits", "epochs": 2} | options
    request = TrainRequest(folder=folder, **asked)
    made = DigitsOptions(architecture, no_unknown=no_unknown)
    return run_recipe(RECIPE, made, request, out=io.StringIO())


def test_every_architecture_can_be_chosen() -> None:
    from modelpad.recipes.digits.model import ARCHITECTURES

    assert set(get_args(ArchitectureName)) == set(ARCHITECTURES)


@pytest.mark.parametrize("name", LAYERS)
def test_the_classics_are_as_described(name: ArchitectureName) -> None:
    from modelpad.recipes.digits.model import ARCHITECTURES, build_model

    model = build_model(name, (28, 28), 10)
    words = []
    for layer in model.layers[3:]:
        config = layer.get_config()
        parts = [
            config.get(key) for key in ("filters", "units", "kernel_size", "pool_size", "rate")
        ]
        parts = [tuple(part) if isinstance(part, list) else part for part in parts]
        words.append(" ".join([type(layer).__name__, *(str(p) for p in parts if p is not None)]))
    assert ", ".join(words) == LAYERS[name]
    assert model.layers[-1].activation.__name__ == "softmax"
    arch = ARCHITECTURES[name]
    optimizer = arch.optimizer(10, arch.rate, arch.weight_decay)
    assert type(optimizer).__name__ == {"conv": "Adadelta", "mini": "RMSprop", "mlp": "Adam"}[name]
    if name == "conv":
        assert float(optimizer.learning_rate) == 1.0


@pytest.mark.slow
@pytest.mark.long
def test_compact_learns_from_few_images_too(tmp_path: Path) -> None:
    """The averaged weights must not remember the untrained ones after a hundred steps."""
    result = train(tmp_path / "run", architecture="compact", epochs=12)
    assert result.metrics["test_accuracy"] >= 0.95


def test_compact_is_small() -> None:
    from modelpad.recipes.digits.model import build_model

    assert build_model("compact", (28, 28), 10).count_params() < 110_000


@pytest.mark.slow
def test_the_same_seed_gives_the_same_model(tmp_path: Path) -> None:
    first, second = train(tmp_path / "a"), train(tmp_path / "b")
    other = train(tmp_path / "c", seed=1)
    graphs = [result.bundle.path("model.onnx").read_bytes() for result in (first, second, other)]
    assert graphs[0] == graphs[1] != graphs[2]
    assert first.metrics["test_accuracy"] > 0.75


def test_a_run_leaves_what_it_promises(tmp_path: Path) -> None:
    result = train(tmp_path / "run")
    bundle = open_bundle(tmp_path / "run" / "bundle")
    assert {"model.onnx", "architecture.json", "model.weights.h5", "card.json"} <= set(
        bundle.manifest.files
    )
    assert bundle.manifest.parity is not None
    assert bundle.manifest.parity["label_agreement"] == 1
    assert bundle.manifest.metrics == result.metrics
    for name in ("report.html", "graph.svg", "report/curves-1.svg", "report/confusion.svg"):
        assert (tmp_path / "run" / name).stat().st_size > 500
    assert list((tmp_path / "run" / "logs").glob("events.out.tfevents.*"))
    card: Any = bundle.read_json("card.json")
    assert len(card["history"]) == 2
    assert sum(map(sum, card["confusion"]["matrix"])) == 359
    Session(bundle).warm_up()


def test_without_unknown_there_is_one_output(tmp_path: Path) -> None:
    bundle = train(tmp_path / "run", no_unknown=True, epochs=1).bundle
    assert bundle.manifest.signature.other_outputs == ()
    assert "familiarity" not in bundle.manifest.signature.outputs[0].to_dict()


def test_the_two_keras_files_are_the_model(tmp_path: Path) -> None:
    import keras

    bundle = train(tmp_path / "run").bundle
    model = keras.models.model_from_json(bundle.path("architecture.json").read_text())
    model.load_weights(bundle.path("model.weights.h5"))
    images = np.random.default_rng(0).uniform(0, 255, (5, 28, 28)).astype(np.float32)
    scores, familiarity = (np.asarray(each) for each in model.predict(images, verbose=0))
    answers = Session(bundle).predict({"image": images})
    np.testing.assert_allclose(scores, answers["label"].astype(np.float64), atol=1e-5)
    np.testing.assert_allclose(familiarity, answers["familiarity"].astype(np.float64), rtol=1e-3)


def test_noise_is_no_digit(tmp_path: Path) -> None:
    bundle = train(tmp_path / "run").bundle
    noise = np.random.default_rng(0).uniform(0, 255, (28, 28)).tolist()
    answer: Any = Session(bundle).answer({"image": noise})["label"]
    assert answer["unknown"] is True
    digit: Any = Session(bundle).answer({"image": bundle.path("samples/0.png").read_bytes()})
    assert digit["label"]["unknown"] is False


def test_a_folder_named_as_a_data_set_holds_no_drawings(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in "ab":
        (tmp_path / "mnist" / name).mkdir(parents=True)
        for number in range(10):
            pixels = rng.integers(0, 255, (28, 28), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "mnist" / name / f"{number}.png")
    request = TrainRequest("m", str(tmp_path / "mnist"), tmp_path / "m")
    splits, pens = load_splits(Run(request, {}, io.StringIO()), pens=True)
    assert splits.data.name == "mnist"
    assert (splits.sketch, pens) == (False, None)


EPOCHS = 12  # so many that a signal still meets a training


def start_digits(folder: Path, *more: str) -> subprocess.Popen[str]:
    options = ("--data", "uci-digits", "--arch", "conv", "--epochs", str(EPOCHS))
    return start_training(folder, "digits", *options, *more)


@pytest.mark.slow
@pytest.mark.long
def test_resumed_after_a_kill_it_ends_the_same(tmp_path: Path) -> None:
    whole = start_digits(tmp_path / "whole")
    killed = start_digits(tmp_path / "killed")
    stop_after(killed, "epoch 2/", signal.SIGKILL)
    killed.communicate()
    assert whole.communicate(timeout=280)[0]
    resumed = start_digits(tmp_path / "killed", "--resume")
    output, errors = resumed.communicate(timeout=280)
    assert "Resuming after epoch" in errors
    assert json.loads(output)["version"] == 1
    graphs = [
        (tmp_path / name / "store" / "digits" / "1" / "model.onnx").read_bytes()
        for name in ("whole", "killed")
    ]
    assert graphs[0] == graphs[1]


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("line", ["epoch 1/1", "Parity"])
def test_ctrl_c_after_the_last_epoch_keeps_the_model(tmp_path: Path, line: str) -> None:
    process = start_digits(tmp_path, "--name", "stopped", "--arch", "mlp", "--epochs", "1")
    stop_after(process, line, signal.SIGINT)
    output, errors = process.communicate(timeout=280)
    assert process.returncode == 0, errors
    assert line != "Parity" or "Press Ctrl-C again" in errors
    assert json.loads(output)["test_accuracy"] > 0.2
    assert open_bundle(tmp_path / "store" / "stopped" / "1")


@pytest.mark.slow
@pytest.mark.long
def test_ctrl_c_keeps_the_best_so_far(tmp_path: Path) -> None:
    process = start_digits(tmp_path, "--name", "stopped")
    stop_after(process, "epoch 2/", signal.SIGINT)
    output, errors = process.communicate(timeout=280)
    assert process.returncode == 0, errors
    assert json.loads(output)["test_accuracy"] > 0.2
    card: Any = open_bundle(tmp_path / "store" / "stopped" / "1").read_json("card.json")
    assert 2 <= card["training"]["epochs"] < EPOCHS


@pytest.mark.slow
def test_a_resume_without_or_with_another_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="no checkpoint"):
        train(tmp_path / "run", resume=True)
    train(tmp_path / "run")
    with pytest.raises(TrainingFailed, match="seed"):
        train(tmp_path / "run", resume=True, seed=3)
    with pytest.raises(UsageError):
        train(tmp_path / "run", epochs=0)


@pytest.mark.slow
def test_class_folders_of_colour_pictures(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, colour in (("red", 0), ("green", 1), ("blue", 2)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(20):
            pixels = rng.integers(0, 90, (40, 36, 3), dtype=np.uint8)
            pixels[:, :, colour] += 120
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{number}.png")
    result = train(
        tmp_path / "run", architecture="mini", data=str(tmp_path / "data"), name="colours", epochs=4
    )
    assert result.bundle.manifest.signature.inputs[0].kind == "image"
    assert result.metrics["test_accuracy"] >= 0.9
    assert result.metrics["cross_validated_accuracy"] >= 0.9
    assert "With only 60 examples" in (tmp_path / "run" / "report.html").read_text()


def test_a_graph_that_disagrees_is_refused(tmp_path: Path) -> None:
    """The zoo's graph is no untrained network."""
    import onnx

    from modelpad.convert import prove
    from modelpad.convert.batching import Batching
    from modelpad.convert.keras_source import KerasSource
    from modelpad.convert.prove import Claim
    from modelpad.convert.reference import Reference
    from modelpad.recipes.digits.model import build_model
    from modelpad.zoo import zoo_bundles

    graph = onnx.load(zoo_bundles()["digits"] / "model.onnx")
    source = KerasSource(build_model("mlp", (28, 28), 10))
    assert [spec.name for spec in (*source.inputs, *source.outputs)] == ["image", "label"]
    images = np.random.default_rng(0).uniform(0, 255, (9, 28, 28)).astype(np.float32)
    reference = Reference(source, [{"image": image} for image in images])
    claim = Claim(reference, Batching({"image": 0}, {"label": 0}))
    with pytest.raises(ParityFailed):
        prove(graph, claim, tmp_path / "model.onnx")
