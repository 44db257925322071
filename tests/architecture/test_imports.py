"""Each floor of the house imports only floors below it, modules import each other in no circle, and
imports do no heavy work.

Imports inside functions count, and those for type checkers alone too: they say what a module knows.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

import modelpad

PACKAGE = Path(modelpad.__file__).parent
FLOORS = {
    "__main__": 8,
    "__init__": 7,  # the public names; the rest of the package takes its `__version__` alone
    "cli": 7,
    "pytest_plugin": 7,
    "api": 6,
    "server": 5,
    "recipes": 5,
    "deploy": 6,
    "comparison": 5,
    "tuning": 5,
    "cluster": 6,
    "video": 5,
    "training": 4,
    "promotion": 4,
    "jobs": 4,
    "store": 3,
    "feedback": 3,
    "convert": 3,
    "engine": 2,
    "collection": 2,
    "databases": 2,
    "signing": 2,
    "bundle": 1,
    "datasets": 1,
    "client": 1,
    "zoo": 1,
    "confine": 0,
    "locations": 0,
    "statistics": 0,
    "fields": 0,
    "prediction": 0,
    "python_values": 0,
    "errors": -1,
    "runtime": -1,
    "installation": -1,
    "foreign_json": -1,
}
HEAVY = ("torch", "keras", "sklearn", "matplotlib", "onnxruntime", "PIL", "numpy", "uvicorn")
Graph = dict[str, set[str]]


def name_module(path: Path) -> str:
    """`modelpad.server.app`; a package has the name of its folder."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(("modelpad", *(part for part in parts if part != "__init__")))


PATHS = {name_module(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def list_imports(tree: ast.AST, known: Iterable[str]) -> Iterator[str]:
    """The modules among `known` that a module imports; `__version__` of the package is a constant.

    `from modelpad.server import errors` is `modelpad.server.errors`, as that is a module.
    """
    known = set(known)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "an import is relative"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in known:
                    yield inner
                elif node.module in known and inner != "modelpad.__version__":
                    yield str(node.module)


def read_graph() -> Graph:
    return {
        module: set(list_imports(ast.parse(path.read_text("utf-8")), PATHS)) - {module}
        for module, path in PATHS.items()
    }


GRAPH = read_graph()


def find_upward(module: str, graph: Mapping[str, set[str]]) -> list[str]:
    """What a module imports that is not on a lower floor, nor in its own room."""
    room = room_of(module)
    others = ((room_of(other), other) for other in graph[module])
    return sorted(other for name, other in others if name != room and FLOORS[name] >= FLOORS[room])


def find_circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The groups of modules that import each other, directly or not.

    Modules that nothing left imports, or that import nothing left, are dropped until none is: what
    remains is in a circle, or between two.
    """
    left = {module: set(others) for module, others in graph.items()}
    while True:
        imported = set().union(*left.values()) if left else set()
        out = {module for module, others in left.items() if not others or module not in imported}
        if not out:
            break
        left = {module: others - out for module, others in left.items() if module not in out}
    groups = {frozenset(reach(left, module)) for module in left}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def reach(graph: Mapping[str, set[str]], start: str) -> set[str]:
    """Those that a module imports and that import it, at any distance, with itself."""

    def follow(edges: Mapping[str, set[str]]) -> set[str]:
        seen, pending = {start}, [start]
        while pending:
            for other in edges[pending.pop()] - seen:
                seen.add(other)
                pending.append(other)
        return seen

    back: Graph = {module: set() for module in graph}
    for module, others in graph.items():
        for other in others:
            back[other].add(module)
    return follow(graph) & follow(back)


@pytest.mark.parametrize("module", GRAPH)
def test_a_module_imports_only_lower_floors(module: str) -> None:
    assert find_upward(module, GRAPH) == []


def test_every_room_is_on_a_floor() -> None:
    assert {room_of(module) for module in GRAPH} <= set(FLOORS)


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert find_circles(GRAPH) == []


def test_circles_are_found() -> None:
    graph = {
        "a": {"b"},
        "b": {"c"},
        "c": {"b", "d"},
        "d": {"e"},
        "e": {"f"},
        "f": {"e"},
        "g": set(),
    }
    assert find_circles(graph) == [["b", "c"], ["e", "f"]]
    assert find_circles({"a": {"b"}, "b": set()}) == []


def test_upward_imports_are_found() -> None:
    graph = {"modelpad.engine.x": {"modelpad.errors", "modelpad.engine.y", "modelpad.store"}}
    assert find_upward("modelpad.engine.x", graph) == ["modelpad.store"]
    assert find_upward("modelpad.store", {"modelpad.store": {"modelpad.convert", "modelpad"}}) == [
        "modelpad",
        "modelpad.convert",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "import modelpad.server.app",
        "from modelpad.server import app",
        "from modelpad.server.app import App",
        "def f():\n    from modelpad.server.app import App",
        "if TYPE_CHECKING:\n    from modelpad.server.app import App",
    ],
)
def test_imports_are_found(line: str) -> None:
    assert list(list_imports(ast.parse(line), PATHS)) == ["modelpad.server.app"]


@pytest.mark.parametrize(
    "module", [name for name in GRAPH if name.startswith("modelpad.server.protocols.")]
)
def test_protocols_know_neither_the_app_nor_its_routes(module: str) -> None:
    above = {"modelpad.server.app", "modelpad.server.routes", "modelpad.server.build"}
    assert not GRAPH[module] & above


@pytest.mark.parametrize("name", ["modelpad", "modelpad.cli.main", "modelpad.errors"])
def test_imports_are_light(name: str) -> None:
    code = f"import sys, {name}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(HEAVY) & set(done.stdout.split())


def test_serving_imports_no_training_framework() -> None:
    code = (
        "import sys; from modelpad.server import build_app;"
        "from modelpad.store import resolve_bundle;"
        "from pathlib import Path; from modelpad.engine import Session;"
        "nowhere = Path('/nonexistent');"
        "Session(resolve_bundle('digits', nowhere).bundle).warm_up(); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "keras", "sklearn", "matplotlib"} & set(done.stdout.split())
