"""Versions are compared on held-out items, and the alias moves only if the condition holds."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelpad.cli.main import main
from modelpad.errors import DataSetInvalid, DataSetNotFound, StoreError
from modelpad.feedback import HELD_OUT, Correction, FeedbackStore, Item, read_corrections
from modelpad.promotion import PromotionRequest, compare_versions, move_alias
from modelpad.promotion.held_out import DataPlaces, open_data, open_table
from modelpad.statistics import mcnemar
from modelpad.store import LocalStore
from tests.promotion.bright import SIGNATURE, encode_shade, write_bright, write_pictures
from tests.table_bundles import LOAN, write_tables

NOW = datetime(2026, 1, 2, tzinfo=UTC)
GATE = "accuracy >= production - 0.002"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    """Version 1 misses some pictures and is production; 2 is perfect, 3 is bad."""
    monkeypatch.setenv("MODELPAD_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("MODELPAD_DATA", str(tmp_path))
    monkeypatch.delenv("MODELPAD_FEEDBACK", raising=False)
    made = LocalStore(tmp_path / "store")
    for threshold in (101, 127, 240):
        made.push(write_bright(tmp_path / "bundles", threshold, "shades"))
    made.set_alias("shades", "production", 1)
    return made


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Held-out pictures, as the test split of the data that the versions were trained on."""
    write_pictures(tmp_path / "shades" / "train", range(0, 256, 20))
    return write_pictures(tmp_path / "shades" / "test").parent


@pytest.fixture
def feedback(tmp_path: Path) -> Path:
    kept = FeedbackStore(tmp_path / "feedback" / "feedback.sqlite")
    kept.create()
    for value in range(100, 128):
        item = Item("image/png", encode_shade(value))
        kept.add(Correction("shades", 1, item, "bright", "dark"), NOW)
    return kept.path.parent


def promote(*words: str) -> int:
    return main(["promote", "shades", *words])


def test_a_better_version_gets_the_alias(
    store: LocalStore, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.set_traffic("shades", {1: 50, 2: 50})
    assert promote("2", "--if", GATE) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "shades, test split: 52 items",
        "  version 2   accuracy 100.00 % (93.12 to 100.00), balanced 100.00 %  candidate",
        "  version 1   accuracy 90.38 % (79.39 to 95.82), balanced 90.38 %  production",
        "  right in only one: version 2 in 5, version 1 in 0; McNemar p = 0.0625",
        f"{GATE}: 1.0000 against 0.9018, holds",
        "shades@production is now version 2, was version 1.",
        "To go back: modelpad models rollback shades",
    ]
    assert store.resolve("shades").version == 2
    assert store.desired_state("shades").traffic == {}


def test_a_worse_version_does_not(
    store: LocalStore, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert promote("3", "--data", str(data / "test"), "--if", GATE, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["promoted"] is False
    assert (found["version"], found["baseline"]) == (3, 1)
    (shades,) = found["sets"]
    assert shades["items"] == 52
    counts = shades["mcnemar"]
    assert counts["p"] == mcnemar(counts["only_candidate"], counts["only_baseline"]) < 0.01
    low, high = shades["versions"][0]["interval"]
    assert low < shades["versions"][0]["accuracy"] < high
    assert found["condition"] == [
        {
            "text": GATE,
            "left": pytest.approx(0.5769, abs=1e-4),
            "right": pytest.approx(0.9018, abs=1e-4),
            "holds": False,
        }
    ]
    assert promote("3", "--if", GATE) == 1
    assert "not promoted: shades@production stays 1." in capsys.readouterr().out
    assert store.resolve("shades").version == 1


def test_corrections_decide_too(
    store: LocalStore, data: Path, feedback: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    condition = "correction_accuracy > production and correction_accuracy == 1"
    options = ("--feedback", str(feedback), "--if", condition, "--json")
    assert promote("2", *options, "--alias", "candidate") == 0
    (found,) = json.loads(capsys.readouterr().out)["sets"]
    held_out = len(list(read_corrections(feedback, "shades", HELD_OUT)))
    assert (found["name"], found["items"]) == ("corrections", held_out)
    assert store.aliases("shades") == {"candidate": 2, "latest": 3, "production": 1}
    assert promote("1", *options) == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("2", "--if", "accuracy >"), 2, "at character 11"),
        (("2", "--if", "accuracy > stagin"), 1, "no version or alias 'stagin'"),
        (("9", "--if", GATE), 1, "no version or alias '9'"),
        (("2", "--if", GATE), 1, "which is not on this machine"),
        (("2", "--if", GATE, "--data", "nothing"), 1, "no data set called nothing"),
        (("2", "--if", "correction_accuracy > 0"), 2, "--feedback DIR"),
        (("2", "--if", "correction_accuracy > 0", "--feedback", "none"), 1, "no feedback in"),
        (("2",), 2, "--if"),
    ],
)
def test_what_cannot_be_compared_moves_nothing(
    store: LocalStore,
    words: tuple[str, ...],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert promote(*words) == code
    assert message in capsys.readouterr().err
    assert store.resolve("shades").version == 1


def test_training_data_is_no_test(store: LocalStore, tmp_path: Path) -> None:
    write_pictures(tmp_path / "shades")
    with pytest.raises(DataSetNotFound, match="no test split"):
        compare_versions(
            store, PromotionRequest("shades", "2", GATE, places=DataPlaces((tmp_path,)))
        )


def test_an_alias_that_moved_meanwhile_stays(store: LocalStore, data: Path) -> None:
    request = PromotionRequest("shades", "2", GATE, data=str(data))
    outcome = compare_versions(store, request)
    store.promote("shades", 3)
    with pytest.raises(StoreError, match="moved"):
        move_alias(store, outcome)
    assert store.resolve("shades").version == 3


def test_data_must_fit_the_model(tmp_path: Path) -> None:
    write_pictures(tmp_path / "data")
    (tmp_path / "data" / "dark").rename(tmp_path / "data" / "gloomy")
    label: Any = SIGNATURE.outputs[0]
    with pytest.raises(DataSetInvalid, match="gloomy"):
        open_data(str(tmp_path / "data"), SIGNATURE, label, DataPlaces())
    label = LOAN.outputs[0]
    table = tmp_path / "rows.csv"
    for text in ("", "age,city\n1,Bern\n", "income (k),age,city,decision\n1,2\n"):
        table.write_text(text)
        with pytest.raises(DataSetInvalid):
            open_table(table, LOAN, label)
    with pytest.raises(DataSetNotFound):
        open_table(tmp_path / "none.csv", LOAN, label)


def test_rows_of_a_table_are_evaluated(
    store: LocalStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from modelpad.bundle import open_bundle

    store.push(open_bundle(write_tables(tmp_path / "tables")[0]))
    table = tmp_path / "rows.csv"
    table.write_text(
        "city,income (k),age,label\nBern,80,,accept\nBern,20,30,accept\nBern,10,20,reject\n"
        "Bern,many,20,reject\n"
    )
    words = ("promote", "loan", "1", "--data", str(table), "--if", "accuracy >= 0.5")
    assert main(list(words)) == 0
    shown = capsys.readouterr().out
    assert "accuracy 50.00 %" in shown
    assert "1 inputs rejected" in shown
    assert "loan@production is now version 1." in shown


def test_a_server_takes_over_what_is_promoted(
    store: LocalStore, data: Path, serve: Any, wait_for: Any
) -> None:
    options = ("--poll-interval", "0.2", "--workers", "1")
    server = serve("shades@production", *options, store=store.root)
    picture = encode_shade(110)

    def ask() -> Any:
        headers = {"content-type": "image/png"}
        return httpx.post(f"{server.url}/predict/shades", content=picture, headers=headers).json()

    assert (ask()["version"], ask()["label"]) == (1, "bright")
    assert promote("2", "--if", "accuracy > production") == 0
    wait_for(lambda: ask()["version"] == 2)
    assert ask()["label"] == "dark"


def test_the_folder_that_a_version_was_trained_on_is_found(
    store: LocalStore, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = data.rename(tmp_path / "anywhere")
    assert promote("2", "--if", GATE) == 1
    assert "not on this machine" in capsys.readouterr().err
    store.record_data("shades", 2, moved)
    assert promote("2", "--if", GATE) == 0
    assert "anywhere, test split" in capsys.readouterr().out


def test_training_data_alone_decides_nothing(
    store: LocalStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.record_data("shades", 2, write_pictures(tmp_path / "plain"))
    assert promote("2", "--if", GATE) == 1
    errors = capsys.readouterr().err
    assert "which has no test split" in errors
    assert '--if "correction_accuracy >= production"' in errors
