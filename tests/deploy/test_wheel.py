"""The wheel of the running modelpad is valid, complete, and the same every time."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from modelpad import __version__
from modelpad.deploy.wheel import ENTRY_POINTS, INFO, NAME, PACKAGE, build_wheel

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel() -> bytes:
    return build_wheel()


def test_two_builds_are_the_same(wheel: bytes) -> None:
    assert build_wheel() == wheel


def test_the_record_lists_every_file_with_its_digest(wheel: bytes) -> None:
    archive = zipfile.ZipFile(io.BytesIO(wheel))
    rows = {
        row[0]: row[1:] for row in csv.reader(io.StringIO(archive.read(f"{INFO}/RECORD").decode()))
    }
    assert set(rows) == set(archive.namelist())
    assert "modelpad/zoo/digits/model.onnx" in rows
    for name, (digest, size) in rows.items():
        if not name.endswith("/RECORD"):
            body = archive.read(name)
            found = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode().rstrip("=")
            assert (digest, int(size)) == (f"sha256={found}", len(body))


def test_it_holds_the_whole_package_and_nothing_else(wheel: bytes) -> None:
    names = zipfile.ZipFile(io.BytesIO(wheel)).namelist()
    assert {name.split("/")[0] for name in names} == {"modelpad", INFO}
    assert not [name for name in names if "__pycache__" in name]
    modules = {f"modelpad/{path.relative_to(PACKAGE).as_posix()}" for path in PACKAGE.rglob("*.py")}
    assert modules <= {*names}


def test_its_metadata_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["version"] == __version__
    (script,) = project["scripts"].items()
    assert f"{script[0]} = {script[1]}\n" in ENTRY_POINTS


@pytest.mark.slow
def test_pip_installs_it(wheel: bytes, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(wheel)
    target = tmp_path / "target"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*pip, "--target", str(target), str(tmp_path / NAME)], check=True)
    done = subprocess.run(
        [sys.executable, "-m", "modelpad", "--version"],
        env={"PYTHONPATH": str(target)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"modelpad {__version__}\n"
    assert (target / "bin" / "modelpad").exists()
