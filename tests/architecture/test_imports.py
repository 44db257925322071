"""Each floor of the house imports only floors below it, and imports do no heavy work."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import modelpad

PACKAGE = Path(modelpad.__file__).parent
FLOORS = {
    "cli": 6,
    "server": 5,
    "recipes": 5,
    "deploy": 5,
    "training": 4,
    "store": 3,
    "client": 1,
    "engine": 2,
    "convert": 2,
    "bundle": 1,
    "datasets": 1,
    "zoo": 1,
    "fields": 0,
    "errors": -1,
}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE)
HEAVY = ("torch", "keras", "sklearn", "matplotlib", "onnxruntime", "PIL", "numpy", "uvicorn")


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path} imports relatively"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "modelpad"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_lower_floors(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0]
    for name in imports_of(path):
        other = room_of(name)
        if other in FLOORS and other != room:
            assert FLOORS[other] < FLOORS[room], f"{room} reaches up to {other}: {name}"


def test_every_room_is_on_a_floor() -> None:
    rooms = {path.relative_to(PACKAGE).parts[0] for path in MODULES}
    assert rooms <= set(FLOORS)


@pytest.mark.parametrize("name", ["modelpad", "modelpad.cli.main", "modelpad.errors"])
def test_imports_are_light(name: str) -> None:
    code = f"import sys, {name}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(HEAVY) & set(done.stdout.split())


def test_serving_imports_no_training_framework() -> None:
    code = (
        "import sys; from modelpad.server import App; from modelpad.store import resolve_bundle;"
        "from pathlib import Path; from modelpad.engine import Session;"
        "nowhere = Path('/nonexistent');"
        "Session(resolve_bundle('digits', nowhere).bundle).warm_up(); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "keras", "sklearn", "matplotlib"} & set(done.stdout.split())
