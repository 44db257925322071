"""What docs/python.md shows is run, word for word."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modelpad.bundle import Bundle

TEXT = (Path(__file__).parents[2] / "docs" / "python.md").read_text("utf-8")
SECTIONS = {
    title: re.findall(r"```python\n(.*?)```", body, re.DOTALL)
    for title, body in re.findall(r"^#+ ([^\n]+)\n(.*?)(?=^#+ |\Z)", TEXT, re.MULTILINE | re.DOTALL)
}
PARTS = ("Python", "Predict", "Errors", "Serve", "Client")


@pytest.fixture
def folder(digits: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the examples name, in the working directory."""
    (tmp_path / "scans").mkdir()
    shutil.copy(digits.path("samples/7.png"), tmp_path / "seven.png")
    for number in range(3):
        shutil.copy(digits.path(f"samples/{number}.png"), tmp_path / "scans" / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELPAD_STORE", str(tmp_path / "store"))
    return tmp_path


def test_every_example_is_run_here() -> None:
    assert {title for title, blocks in SECTIONS.items() if blocks} == {*PARTS, "Train", "Tests"}


def test_predicting_and_serving(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pandas")
    names: dict[str, Any] = {}
    for title in PARTS:
        for block in SECTIONS[title]:
            exec(compile(block, f"docs/python.md, {title}", "exec"), names)
            if block.startswith("server = ") and "Client" not in block:
                assert "iframe" in names["server"]._repr_html_()
                names["server"].stop()
    printed = capsys.readouterr().out
    assert printed.startswith("7\n7 0.9")
    last = [line.split()[0] for line in printed.splitlines()[-4:]]
    assert last[0] == "7"
    assert sorted(last[1:]) == ["0", "1", "2"]
    assert "positive" in printed
    assert "Did you mean digits?" in printed
    assert [*names["frame"]["label"]] == ["negative", "positive"]


@pytest.mark.slow
@pytest.mark.long
def test_training(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    for name, colour in (("cats", (200, 60, 60)), ("dogs", (60, 60, 200))):
        (folder / "pets" / name).mkdir(parents=True)
        for number in range(30):
            pixels = np.clip(rng.normal(colour, 30, (40, 40, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "pets" / name / f"{number}.png")
    names: dict[str, Any] = {}
    exec(SECTIONS["Python"][0], names)
    for block in SECTIONS["Train"]:
        exec(compile(block, "docs/python.md, Train", "exec"), names)
    printed = capsys.readouterr()
    assert printed.out.endswith("report.html\ncats\n")
    assert "epoch 2/2" in printed.err
    trained = names["trained"]
    assert trained.report.is_file()
    assert repr(trained).startswith("<Training of pets version 1 on pets: Test accuracy")
    assert "Report:" in trained._repr_html_()
    with trained.serve() as server:
        assert server.models == {"pets": 1}


def test_the_fixture(folder: Path) -> None:
    (folder / "test_program.py").write_text(SECTIONS["Tests"][0])
    plugin = ("-p", "no:modelpad", "-p", "modelpad.pytest_plugin")
    command = [sys.executable, "-m", "pytest", "-q", *plugin, "test_program.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
