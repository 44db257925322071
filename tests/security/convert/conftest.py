"""Hostile files: a PyTorch program to tamper with, and a mark that only code run could leave."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelpad.convert import ImportRequest, open_source

Change = Callable[[str, bytes], bytes]


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A file that does not exist, until code of a hostile file creates it."""
    return tmp_path / "was-here"


@pytest.fixture(scope="session")
def open_foreign() -> Callable[..., Any]:
    """Opens a foreign file as `modelpad import` does, without trust unless told."""

    def go(path: Path, *, trust: bool = False, weights: Path | None = None) -> Any:
        request = ImportRequest(inputs=("tensor:float32[4]",), trust=trust, weights=weights)
        return open_source(path, request)

    return go


@pytest.fixture(scope="session")
def rewrite() -> Callable[[Path, Path, Change], None]:
    """Copies a zip archive, each entry changed by a function of its name and content."""

    def go(source: Path, target: Path, change: Change) -> None:
        with zipfile.ZipFile(source) as before, zipfile.ZipFile(target, "w") as after:
            for name in before.namelist():
                after.writestr(name, change(name, before.read(name)))

    return go


@pytest.fixture
def tamper(program: Path, tmp_path: Path, rewrite: Any) -> Callable[..., Path]:
    """Writes the program with its `model.json` changed by a function; answers the new file."""

    def go(change: Callable[[dict[str, Any]], object], entry: str = "models/model.json") -> Path:
        def rewrite_entry(name: str, body: bytes) -> bytes:
            if not name.endswith(entry):
                return body
            record = json.loads(body)
            change(record)
            return json.dumps(record).encode()

        rewrite(program, tmp_path / "bad.pt2", rewrite_entry)
        return tmp_path / "bad.pt2"

    return go
