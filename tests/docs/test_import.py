"""What docs/import.md shows for each framework is run, word for word."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.convert.matrix import write_matrix

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "import.md").read_text("utf-8")
SECTIONS = {
    title: body
    for title, body in re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    if "```sh" in body
}
PACKAGES = {
    "Keras": "torch",
    "PyTorch": "torch",
    "TensorFlow": "tensorflow",
    "scikit-learn": "skops",
    "XGBoost": "xgboost",
    "LightGBM": "lightgbm",
    "CatBoost": "catboost",
    "ONNX": "onnx",
    "fastai": "fastai",
}
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
    "optional-dependencies"
]


def test_every_framework_has_a_section() -> None:
    assert set(SECTIONS) == set(PACKAGES)


@pytest.mark.parametrize("title", PACKAGES)
def test_the_extra_exists(title: str) -> None:
    for extra in re.findall(r"modelpad\[(\w+)\]", SECTIONS[title]):
        assert extra in EXTRAS


QUICK = ("TensorFlow", "ONNX", "fastai")


@pytest.mark.parametrize(
    "title",
    [pytest.param(title, marks=() if title in QUICK else pytest.mark.long) for title in PACKAGES],
)
@pytest.mark.slow
def test_the_three_lines(title: str, tmp_path: Path, serve: Any) -> None:
    if find_spec(PACKAGES[title]) is None:
        pytest.skip(f"{PACKAGES[title]} is not installed")
    blocks = re.findall(r"```(python|sh)\n(.*?)```", SECTIONS[title], re.DOTALL)
    program = "\n".join(body for language, body in blocks if language == "python")
    lines = [line for language, body in blocks if language == "sh" for line in body.splitlines()]
    environment = os.environ | {
        "MODELPAD_STORE": str(tmp_path / "store"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    (tmp_path / "train.py").write_text(program)
    run(sys.executable, "train.py")
    assert len(lines) == 3
    assert lines[0].startswith("pip install")
    assert "Parity on" in run("bash", "-c", lines[1])
    name = lines[2].removeprefix("modelpad serve ")
    running = serve(name, store=tmp_path / "store")
    (model,) = httpx.get(f"{running.url}/models").json()["models"]
    assert model["samples"] == [], "generated samples are not shown"
    bundle = tmp_path / "store" / name / "1"
    sample = json.loads((bundle / "manifest.json").read_text("utf-8"))["samples"][0]["inputs"]
    values = {
        field: (bundle / value["file"]).read_bytes() if "file" in value else value["value"]
        for field, value in sample.items()
    }
    if any(isinstance(value, bytes) for value in values.values()):
        answer = httpx.post(f"{running.url}/predict/{name}", files=values)
    else:
        answer = httpx.post(f"{running.url}/predict/{name}", json=values)
    assert answer.status_code == 200, answer.text


def test_the_matrix_is_that_of_the_tests() -> None:
    """`python -m tests.convert.matrix` prints it."""
    _, _, rest = TEXT.partition("<!-- matrix -->\n")
    table, end, _ = rest.partition("\n<!-- end of matrix -->")
    assert end
    assert table == write_matrix()
