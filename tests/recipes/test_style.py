"""`modelpad train style` and `modelpad style`, with a small random VGG and few small pictures."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from modelpad.cli.main import main
from modelpad.engine import Session
from modelpad.errors import DataSetInvalid, DataSetNotFound, ModelNotFound, UsageError
from modelpad.recipes.style import RECIPE, StyleOptions
from modelpad.recipes.style.data import load_paintings, load_photos
from modelpad.recipes.style.exact import Commission, Like, read_likes
from modelpad.recipes.style.network import Painter
from modelpad.recipes.style.pretrained import load_pretrained
from modelpad.recipes.style.recipe import BLOCKS, WIDTHS
from modelpad.training.pipeline import Outcome
from modelpad.training.pipeline import train as run_recipe
from modelpad.training.run import TrainRequest
from tests.style_parts import write_data, write_styles

SMALL = StyleOptions(size=64, painting_size=64, batch_size=1, compare=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data") / "root")


def train(data: Path, folder: Path, options: StyleOptions = SMALL, **more: Any) -> Outcome:
    request = TrainRequest("mine", "photos", folder, roots=(data,), **more)
    return run_recipe(RECIPE, options, request, out=io.StringIO())


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return train(data, tmp_path_factory.mktemp("run"), epochs=2)


@pytest.mark.slow
def test_a_trained_network_paints_in_every_style(trained: Outcome) -> None:
    session = Session(trained.bundle)
    style = session.signature.inputs[1]
    assert getattr(style, "choices", ()) == ("paintings-1", "waves")
    for file in getattr(style, "pictures", ()):
        with Image.open(trained.bundle.path(file)) as thumbnail:
            assert (thumbnail.format, thumbnail.size) == ("JPEG", (96, 96))
    values = session.bundle.sample_values(trained.bundle.manifest.samples[0].inputs)
    painted = {name: session.answer(values | {"style": name}) for name in ("paintings-1", "waves")}
    assert painted["waves"] != painted["paintings-1"]
    assert trained.metrics["loss_ratio"] > 0
    assert trained.bundle.manifest.parity["relative_difference"] < 1e-3  # type: ignore[index,operator]
    assert sum(each.bytes for each in trained.bundle.manifest.files.values()) < 1_100_000


@pytest.mark.slow
def test_the_report_shows_every_epoch(trained: Outcome) -> None:
    folder = trained.bundle.folder.parent
    sheets = sorted((folder / "report" / "previews").iterdir())
    assert [sheet.name for sheet in sheets] == ["epoch-001.jpg", "epoch-002.jpg"]
    report = (folder / "report.html").read_text("utf-8")
    assert "epoch 2" in report
    rows = [*csv.DictReader((folder / "history.csv").open())]
    assert float(rows[1]["style"]) < float(rows[0]["style"])
    assert float(rows[1]["val_warping_error"]) > 0 < float(rows[1]["flicker"])


@pytest.mark.slow
@pytest.mark.long
def test_a_resumed_training_ends_with_the_same_weights(
    data: Path, trained: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modelpad.training.run import Run

    save = Run.save

    def save_and_die(self: Run, *given: Any, **more: Any) -> None:
        save(self, *given, **more)
        raise MemoryError

    monkeypatch.setattr(Run, "save", save_and_die)
    with pytest.raises(MemoryError):
        train(data, tmp_path, epochs=2)
    monkeypatch.undo()
    again = train(data, tmp_path, epochs=2, resume=True)
    graphs = [each.bundle.path("model.onnx").read_bytes() for each in (trained, again)]
    assert graphs[0] == graphs[1]


@pytest.mark.slow
def test_a_painter_learns_more_paintings(data: Path, trained: Outcome, tmp_path: Path) -> None:
    """Styles are found by their names; the one that is new starts as the mean of the others."""
    root = tmp_path / "root"
    shutil.copytree(data, root)
    (root / "paintings" / "paintings 1.png").rename(root / "paintings" / "dots.png")
    before = load_pretrained(str(trained.bundle.folder), None)
    options = replace(SMALL, from_=str(trained.bundle.folder.parent), compare=0)
    after = load_pretrained(
        str(train(root, tmp_path / "run", options, epochs=1).bundle.folder), None
    )
    assert (before.styles, after.styles) == (("paintings-1", "waves"), ("dots", "waves"))
    started = Painter(2, WIDTHS, BLOCKS)
    before.start(started, after.styles)
    scale = before.weights["down.norm.scale"]
    assert torch.equal(started.down.norm.scale[1], scale[1])
    assert torch.allclose(started.down.norm.scale[0], scale.mean(dim=0))
    for name, value in after.weights.items():
        moved = (value - started.state_dict()[name]).abs()
        assert 0 < float(moved.max()) < 0.05, name


def test_what_is_no_painter_is_named(data: Path, tmp_path: Path) -> None:
    for model in ("digits", "reviews"):
        with pytest.raises(UsageError, match=f"--from {model}: it is not a painter"):
            train(data, tmp_path, replace(SMALL, from_=model))
    with pytest.raises(ModelNotFound):
        train(data, tmp_path, replace(SMALL, from_="stiles"))
    other = load_pretrained(str(write_styles(tmp_path / "other")), None)
    with pytest.raises(UsageError, match="it is not a painter"):
        other.start(Painter(2, WIDTHS, BLOCKS), other.styles)


def test_bad_folders_and_options_are_explained(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataSetNotFound):
        load_paintings("nowhere", [data], 64)
    with pytest.raises(DataSetInvalid, match="no pictures"):
        load_paintings(str(tmp_path), [], 64)
    for name in ("a.png", "A.jpg"):
        Image.new("RGB", (40, 30)).save(tmp_path / name)
    with pytest.raises(DataSetInvalid, match="2 paintings with 1 names"):
        load_paintings(str(tmp_path), [], 64)
    with pytest.raises(DataSetInvalid, match="2 photographs"):
        load_photos(tmp_path, 64)
    (tmp_path / "b.jpg").write_bytes(b"text")
    with pytest.raises(DataSetInvalid, match=r"b\.jpg cannot be read"):
        load_photos(tmp_path, 64)
    for options in (StyleOptions(size=65), StyleOptions(scales=9), StyleOptions(style_weight=-1)):
        with pytest.raises(UsageError):
            train(data, tmp_path / "run", options)


def test_paintings_keep_their_proportions(data: Path) -> None:
    found = load_paintings("paintings", [data], 36)
    assert found.names == ("paintings-1", "waves")
    assert [tuple(each.shape) for each in found.pictures] == [(3, 36, 40)] * 2


@pytest.fixture
def paint(run_modelpad: Any, data: Path, tmp_path: Path) -> Any:
    """Runs `modelpad style` on a photograph of 80 x 72 pixels, quickly."""
    photo = next((data / "photos").iterdir())
    Image.open(photo).save(tmp_path / "cat.png")
    Image.open(data / "paintings" / "waves.png").save(tmp_path / "wave.png")

    def run(*arguments: str) -> Any:
        quick = ("--iterations", "12", "--threads", "1")
        return run_modelpad("style", *arguments, *quick, MODELPAD_DATA=str(data))

    return run


def test_one_command_paints_a_photograph(paint: Any, tmp_path: Path) -> None:
    extra = ("--preview", "now.jpg", "--losses", "losses.csv", "--json")
    done = paint("cat.png", "--like", "wave.png", *extra)
    assert done.returncode == 0, done.stderr
    assert "content block2_conv2" in done.stderr
    facts = json.loads(done.stdout)
    with Image.open(tmp_path / "cat-wave.png") as painted:
        assert painted.size == (80, 72)
        photo = np.asarray(Image.open(tmp_path / "cat.png")).astype(int)
        assert np.abs(np.asarray(painted) - photo).mean() > 1
    with Image.open(tmp_path / "now.jpg") as preview:
        assert preview.size == (80, 72)
    rows = [*csv.DictReader((tmp_path / "losses.csv").open())]
    assert float(rows[-1]["loss"]) == facts["loss"] < float(rows[0]["loss"]) * 1.01


@pytest.mark.slow
@pytest.mark.long
def test_options_change_the_picture(paint: Any, tmp_path: Path) -> None:
    def pixels(name: str, *options: str) -> Any:
        done = paint("cat.png", "--like", "wave.png", "-o", name, "--size", "48", *options)
        assert done.returncode == 0, done.stderr
        return np.asarray(Image.open(tmp_path / name)).astype(float)

    noise = ("--init", "noise")
    first, again = pixels("a.png", *noise), pixels("b.png", *noise)
    assert first.shape == (43, 48, 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, pixels("c.png", *noise, "--seed", "1"))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["gone.png", "--like", "wave.png"], 1, "gone.png cannot be read"),
        (["cat.png", "--like", "text.jpg"], 1, "text.jpg cannot be read"),
        (["cat.png"], 2, "--like"),
        (["cat.png", "--like", "wave.png", "-o", "out.bmp"], 2, ".png, .jpg"),
        (["cat.png", "--like", "wave.png", "-o", "no/out.png"], 2, "no folder no"),
        (["cat.png", "--like", "wave.png", "--losses", "no/x.csv"], 2, "no folder no"),
        (["cat.png", "--like", "wave.png", "--preview", "no/x.png"], 2, "no folder no"),
        (["cat.png", "--like", "wave.png", "--strength", "7"], 2, "0 to 1"),
        (["cat.png", "--like", "wave.png", "--size", "5"], 2, "32 to 4096"),
        (["cat.png", "--like", "wave.png", "--mask", "a", "--mask", "b"], 2, "2 masks"),
    ],
)
def test_wrong_usage_is_explained(
    data: Path,
    tmp_path: Path,
    arguments: list[str],
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELPAD_DATA", str(data))
    (tmp_path / "text.jpg").write_text("text")
    for name in ("cat.png", "wave.png"):
        Image.new("RGB", (80, 72)).save(name)
    assert main(["style", *arguments]) == code
    assert words in capsys.readouterr().err


def test_paintings_have_weights_and_masks(tmp_path: Path) -> None:
    odd = tmp_path / "a=2"
    odd.touch()
    assert read_likes(["x.jpg=2.5", "y.jpg", str(odd)], ["m.png"]) == [
        Like(Path("x.jpg"), 2.5, Path("m.png")),
        Like(Path("y.jpg")),
        Like(odd),
    ]
    with pytest.raises(UsageError, match="weight above 0"):
        Commission(Path("a"), [Like(Path("b"), 0.0)])
