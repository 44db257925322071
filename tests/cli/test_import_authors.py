"""What an author says at the import is kept in the bundle and served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import modelpad
from modelpad.store import LocalStore

CARD = "---\nlicense: mit\n---\n# Doubles\n\nIt *doubles* numbers. <script>alert(1)</script>\n"
WORDS: Any = {
    "title": "Twice as much",
    "summary": "Doubles two numbers.",
    "author": "Ada Müller",
    "licence": "CC-BY-4.0",
}
OPTIONS = [part for name, text in WORDS.items() for part in (f"--{name}", text)]


@pytest.fixture
def double(tmp_path: Path) -> Path:
    """An ONNX model (batch, 2) that doubles its input, and a card."""
    from onnx import TensorProto, helper, numpy_helper, save

    two = numpy_helper.from_array(np.array(2.0, np.float32), "two")
    shapes = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in ("x", "y")
    ]
    nodes = [helper.make_node("Mul", ["x", "two"], ["y"])]
    graph = helper.make_graph(nodes, "double", shapes[:1], shapes[1:], [two])
    opsets = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "double.onnx")
    (tmp_path / "CARD.md").write_text(CARD, "utf-8")
    return tmp_path / "double.onnx"


def read_manifest(store: Path) -> dict[str, Any]:
    folder = LocalStore(store).resolve("double").folder
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text("utf-8"))
    card = json.loads((folder / "card.json").read_text("utf-8"))
    return manifest | {"card": card}


def check_words(record: dict[str, Any]) -> None:
    assert {name: record[name] for name in WORDS} == WORDS
    assert record["card"] == {
        "text": "# Doubles\n\nIt *doubles* numbers. <script>alert(1)</script>"
    }


def test_import_keeps_the_authors_words(run_modelpad: Any, double: Path) -> None:
    done = run_modelpad("import", str(double), *OPTIONS, "--card", "CARD.md")
    assert done.returncode == 0, done.stderr
    check_words(read_manifest(double.parent / "store"))


def test_the_server_publishes_the_authors_words(
    run_modelpad: Any, double: Path, serve: Any
) -> None:
    assert run_modelpad("import", str(double), *OPTIONS, "--card", "CARD.md").returncode == 0
    server = serve("double", "--workers", "1", store=double.parent / "store")
    (model,) = httpx.get(f"{server.url}/models").json()["models"]
    check_words(model)


def test_save_takes_the_same_words(double: Path, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(double)
    modelpad.save(model, "double", **WORDS, card=tmp_path / "CARD.md", store=tmp_path / "other")
    check_words(read_manifest(tmp_path / "other"))


def test_without_words_the_title_is_the_name(run_modelpad: Any, double: Path) -> None:
    assert run_modelpad("import", str(double)).returncode == 0
    folder = LocalStore(double.parent / "store").resolve("double").folder
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert [manifest[name] for name in WORDS] == ["double", "", "", ""]
    assert "card.json" not in manifest["files"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        (b"\xff\xfe", "UTF-8"),
        (b"x" * 300_000, "at most 262,144"),
        (b"---\nlicense: mit\n---\n", "empty"),
    ],
    ids=["missing", "not UTF-8", "long", "empty"],
)
def test_a_card_that_cannot_be_kept_is_explained(
    run_modelpad: Any, double: Path, content: bytes | None, words: str
) -> None:
    card = double.parent / "wrong.md"
    if content is not None:
        card.write_bytes(content)
    done = run_modelpad("import", str(double), "--card", str(card))
    assert done.returncode == 2
    assert words in done.stderr
