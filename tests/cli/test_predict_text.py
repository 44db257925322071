"""`modelpad predict` with language models."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("onnx")
pytest.importorskip("tokenizers")

from tests.text_graphs import write_critic, write_writer

PROMPT = "My favorite part was when"
Run = Callable[..., subprocess.CompletedProcess[str]]


def test_a_writer_prints_its_text(run_modelpad: Run, tmp_path: Path) -> None:
    folder = str(write_writer(tmp_path / "writer").folder)
    done = run_modelpad("predict", folder, PROMPT, "--words", "3", "--seed", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(PROMPT)
    again = run_modelpad("predict", folder, PROMPT, "--words", "3", "--seed", "1", "--json")
    record = json.loads(again.stdout)
    assert record["outputs"]["text"] == done.stdout.removesuffix("\n")
    wrong = run_modelpad("predict", folder, PROMPT, "--temperature", "-1")
    assert wrong.returncode == 1
    assert "temperature must be" in wrong.stderr


def test_a_critic_judges_texts_and_tables(run_modelpad: Run, tmp_path: Path) -> None:
    folder = str(write_critic(tmp_path / "critic").folder)
    done = run_modelpad("predict", folder, "I loved it", "--json")
    record = json.loads(done.stdout)
    assert {*record["scores"]} == {"negative", "positive"}
    assert record["tokens_read"] > 3
    rows = tmp_path / "rows.csv"
    rows.write_text('text\n"I loved it"\n""\n')
    table = run_modelpad("predict", folder, str(rows))
    lines = table.stdout.splitlines()
    assert lines[0] == "text,label,confidence,error"
    assert lines[1].startswith(f"I loved it,{record['label']}")
    assert "is empty" in lines[2]
    nameless = tmp_path / "nameless.csv"
    nameless.write_text("review\nfine\n")
    assert run_modelpad("predict", folder, str(nameless)).returncode != 0
    wrong = run_modelpad("predict", folder, "I loved it", "--words", "3")
    assert wrong.returncode == 2
    assert "--words is for models that write text" in wrong.stderr
    binary = tmp_path / "binary.txt"
    binary.write_bytes(b"\xff\xfe\x00")
    unreadable = run_modelpad("predict", folder, str(binary))
    assert unreadable.returncode == 1
    assert "not valid UTF-8" in unreadable.stderr
