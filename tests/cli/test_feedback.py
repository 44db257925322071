"""`modelpad feedback`: list, show, export, delete."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from modelpad.cli.main import main
from modelpad.feedback import Correction, FeedbackStore, Item, locate_feedback

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
PNG = Item("image/png", b"\x89PNG picture")
ROW = Item("application/json", b'{"text":"fine"}')


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeedbackStore:
    monkeypatch.setenv("MODELPAD_FEEDBACK", str(tmp_path / "feedback"))
    made = FeedbackStore(locate_feedback(str(tmp_path / "feedback")))
    made.create()
    made.add(Correction("digits", 1, PNG, "1", "7", "told\x1b[2J"), NOW)
    made.add(Correction("mood", 2, ROW, "glad", "glad"), NOW)
    return made


def run(*words: str) -> int:
    return main(["feedback", *words])


def test_a_list(store: FeedbackStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    listed = capsys.readouterr().out
    assert "digits@1  2026-01-02 03:04  1" in listed
    assert "2 in all: 1 wrong, 1 right." in listed
    assert run("list", "--model", "mood", "--json") == 0
    (entry,) = json.loads(capsys.readouterr().out)["corrections"]
    assert (entry["model"], entry["label"], entry["right"]) == ("mood", "glad", True)
    assert run("list", "--model", "none") == 0
    assert "no corrections of none" in capsys.readouterr().out


def test_one_is_shown_and_its_input_written(
    store: FeedbackStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, text = (entry.id for entry in sorted(store.entries(), key=lambda e: e.model))
    output = str(tmp_path / "item.png")
    assert run("show", picture, "-o", output) == 0
    shown = capsys.readouterr().out
    assert "label      7" in shown
    assert "\x1b" not in shown, "what others sent must not control the terminal"
    assert Path(output).read_bytes() == PNG.body
    assert run("show", picture, "-o", output) == 2, "never overwrites"
    assert run("show", text, "--json") == 0
    assert json.loads(capsys.readouterr().out)["item"] == '{"text":"fine"}'
    assert run("show", "0" * 16) == 1


def test_an_export(
    store: FeedbackStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    assert run("export", out) == 2
    assert "--model digits" in capsys.readouterr().err
    assert run("--model", "digits", "export", out) == 0
    assert "Wrote 1 corrections of digits" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "out" / "7").iterdir()]
    assert run("export", out, "--model", "digits") == 1
    assert run("export", str(tmp_path / "other"), "--model", "digit") == 1
    assert "Did you mean digits?" in capsys.readouterr().err


def test_deleting(store: FeedbackStore, capsys: pytest.CaptureFixture[str]) -> None:
    ids = [entry.id for entry in store.entries()]
    assert run("delete", *ids, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"deleted": ids}
    assert store.entries() == []
    assert run("delete", *ids) == 1


def test_a_place_must_be_named_and_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MODELPAD_FEEDBACK", raising=False)
    assert run("list") == 2
    assert "--feedback DIR" in capsys.readouterr().err
    assert run("list", "--feedback", str(tmp_path)) == 1
    assert "no feedback in" in capsys.readouterr().err
