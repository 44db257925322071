"""Two versions are put side by side, and run on the same items where there are any."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from modelpad.bundle import Bundle, open_bundle, write_bundle
from modelpad.cli.main import main
from modelpad.statistics import mcnemar
from modelpad.store import LocalStore
from tests.promotion.bright import write_bright, write_pictures
from tests.table_bundles import write_tables

CARD = {
    "intervals": {"test_accuracy": [0.8, 0.9]},
    "data": [{"name": "Shades <b>", "examples": 52, "licence": "CC0", "role": "all"}],
    "parameters": 1234,
}


def train(bundle: Bundle, folder: Path, accuracy: float, **training: Any) -> Bundle:
    """The bundle as if it had been trained."""
    manifest = replace(
        bundle.manifest,
        metrics={"test_accuracy": accuracy},
        training={"data": "shades", **training},
    )
    files: dict[str, Any] = {name: bundle.path(name) for name in bundle.manifest.files}
    write_bundle(folder, manifest, files | {"card.json": json.dumps(CARD).encode()})
    return open_bundle(folder)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    """Version 1 misses some pictures, 2 is perfect; `darker` is 1 of another name."""
    monkeypatch.setenv("MODELPAD_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("MODELPAD_DATA", str(tmp_path))
    made = LocalStore(tmp_path / "store")
    for threshold, accuracy, epochs in ((101, 0.85, 3), (127, 0.95, 12)):
        bundle = write_bright(tmp_path / "bundles", threshold)
        place = tmp_path / f"trained-{threshold}"
        trained = train(bundle, place, accuracy, epochs=epochs, seed=0, seconds=epochs * 100.0)
        made.push(trained)
    made.push(open_bundle(tmp_path / "trained-101"), "darker")
    return made


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The test split of what they were trained on, and its training split."""
    write_pictures(tmp_path / "shades" / "train", range(0, 256, 20))
    return write_pictures(tmp_path / "shades" / "test").parent


def compare(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["compare", *words]) == 0
    return capsys.readouterr().out


def test_versions_are_run_on_the_same_items(
    store: LocalStore, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "changes.html"
    shown = compare(capsys, "shades@1", "shades@latest", "-o", str(target))
    lines = shown.splitlines()
    assert all(len(line) <= 60 for line in lines if not line.startswith("Report: "))
    assert lines[0].split() == ["shades@1", "shades@2"]
    assert lines[1].split() == ["Test", "accuracy", "85.00", "%", "95.00", "%"]
    for words in (
        r"95 % interval +80.0 to 90.0 % +80.0 to 90.0 %",
        r"Epochs +3 +12\n",
        r"Training time +5 min 0 s +20 min 0 s\n",
        r"The same: .*seed",
        r"shades, test split: 52 items, run on both\n",
        r"Accuracy +90.38 % +100.00 %\n",
        r"Right in one only +0 +5\n",
        r"may be chance \(McNemar p = 0.062\)",
        r"fixed: \S*105.png \(dark\): bright, now dark\n",
    ):
        assert re.search(words, shown), words

    page = target.read_text("utf-8")
    assert "Wrong before, right now: 5 items" in page
    assert "Shades &lt;b&gt;" in page
    assert not re.search(r'(src|href)="(?!data:image/)', page)
    pictures = [
        Image.open(io.BytesIO(base64.b64decode(each)))
        for each in re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    ]
    shades = [picture.convert("L").getpixel((4, 4)) for picture in pictures]
    assert shades == [105, 110, 115, 120, 125]  # as they are, not inverted


def test_json_has_everything(
    store: LocalStore, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(compare(capsys, "shades@2", "darker", "--data", str(data), "--json"))
    assert [found[side]["name"] for side in ("first", "second")] == ["shades", "darker"]
    (metric,) = found["metrics"]
    assert (metric["first"], metric["second"], metric["first_interval"]) == (0.95, 0.85, [0.8, 0.9])
    facts = {row["name"]: row for row in found["facts"]}
    assert facts["epochs"]["changed"]
    assert (facts["epochs"]["first"], facts["epochs"]["second"]) == ("12", "3")
    assert not facts["seed"]["changed"]
    items = found["items"]
    assert items["mcnemar"] == {"only_first": 5, "only_second": 0, "p": mcnemar(0, 5)}
    assert {each["kind"] for each in items["changed"]} == {"broken"}
    assert len(items["changed"]) == 5


def test_without_common_items_it_says_so(
    store: LocalStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = " ".join(compare(capsys, "shades@1", "shades@2").split())
    assert "The versions were not run on the same items" in shown
    assert "which is not on this machine" in shown
    assert "--data DIR_OR_NAME" in shown

    store.push(open_bundle(write_tables(tmp_path / "tables")[0]))
    target = tmp_path / "two.html"
    shown = " ".join(compare(capsys, "shades", "loan", "-o", str(target)).split())
    assert "shades@2 takes image (image), loan@1 takes" in shown
    assert "cannot be compared on items" in target.read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("shade@1", "shades@2"), 1, "Did you mean shades?"),
        (("shades@1", "shades@7"), 1, "no version or alias '7'"),
        (("shades@2", "shades"), 2, "the same version, shades@2"),
        (("shades@1", "shades@2", "--data", "nothing"), 1, "no data set called nothing"),
        (("shades@1", "shades@2", "-o", "a.pdf"), 2, "-o changes.html"),
        (("shades@1",), 2, "B"),
    ],
)
def test_what_cannot_be_compared_is_an_error_with_a_hint(
    store: LocalStore,
    words: tuple[str, ...],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["compare", *words]) == code
    assert message in capsys.readouterr().err
