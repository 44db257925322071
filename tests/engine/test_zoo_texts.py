"""The language models that ship with modelpad, with nothing but the base install."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modelpad.bundle import open_bundle
from modelpad.engine.text import TextSession
from modelpad.zoo import zoo_bundles

MAX_BYTES = 14_000_000  # of both
ABSENT = ("torch", "tokenizers", "transformers", "onnx", "keras", "sklearn")
WITHOUT = f"""
import sys
for name in {ABSENT!r}:
    sys.modules[name] = None  # importing it fails
from modelpad.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
REVIEWS = {
    "I loved every minute of it, the acting is superb.": "positive",
    "A complete waste of time: dull, badly acted and far too long.": "negative",
    "I loved the first part, but the rest was awful and I left before the end.": "negative",
    "It starts slowly, but what a wonderful, moving ending!": "positive",
    "I loved it": "positive",
    "I hated it": "negative",
    "I hated this film.": "negative",
}


@pytest.fixture(scope="module")
def reviews() -> TextSession:
    return TextSession(open_bundle(zoo_bundles()["reviews"]))


def run_base(tmp_path: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *arguments, "--store", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_text_is_continued(tmp_path: Path) -> None:
    prompt = "My favorite part was when"
    text = run_base(tmp_path, "predict", "writer", prompt, "--words", "8", "--seed", "1")
    assert text.startswith(prompt)
    assert len(text.split()) > len(prompt.split()) + 4


def test_a_review_is_judged(tmp_path: Path) -> None:
    given = run_base(tmp_path, "predict", "reviews", "I loved the first part", "--json")
    record = json.loads(given)
    assert record["label"] == "positive"
    assert set(record["scores"]) == {"negative", "positive"}


@pytest.mark.parametrize(("text", "label"), REVIEWS.items())
def test_verdicts(reviews: TextSession, text: str, label: str) -> None:
    answer: Any = reviews.answer({"text": text})["label"]
    assert answer["label"] == label


def test_the_writer_warms_up_without_writing_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    from modelpad.engine.text.graph import TextGraph

    session = TextSession(open_bundle(zoo_bundles()["writer"]))
    runs = []
    original = TextGraph.run

    def count(graph: TextGraph, *arguments: Any, **more: Any) -> Any:
        runs.append(1)
        return original(graph, *arguments, **more)

    monkeypatch.setattr(TextGraph, "run", count)
    session.warm_up()
    assert 1 <= len(runs) <= 4


def test_they_are_small_and_say_what_they_are_made_of() -> None:
    folders = [zoo_bundles()[name] for name in ("writer", "reviews")]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MAX_BYTES
    for folder in folders:
        card = json.loads((folder / "card.json").read_text("utf-8"))
        text = json.dumps(card["data"])
        assert "IMDB" in text
        assert "CC BY-SA 4.0" in text
        assert card["training"]["command"].startswith(f"modelpad train {folder.name} ")
        assert card["training"]["accelerator"]
        assert card["training"]["seed"] == 0
