"""ONNX Runtime is imported in one place, which disables its telemetry first."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOME = ROOT / "src" / "modelpad" / "runtime.py"
VARIABLE = "ORT_DISABLE_TELEMETRY"
SOURCES = sorted(
    path for folder in ("src", "bench", "tests") for path in (ROOT / folder).rglob("*.py")
)


def find_imports(tree: ast.AST) -> list[int]:
    """The lines that import ONNX Runtime, by a statement or by name."""
    lines = []
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Call):
            function = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if function in ("import_module", "__import__", "importorskip"):
                names = [str(each.value) for each in node.args if isinstance(each, ast.Constant)]
        if any(name.split(".")[0] == "onnxruntime" for name in names):
            lines.append(getattr(node, "lineno", 0))
    return lines


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_onnxruntime_is_imported_in_one_place(path: Path) -> None:
    text = path.read_text("utf-8")
    lines = find_imports(ast.parse(text)) if path != HOME else []
    if path.is_relative_to(ROOT / "bench") and lines:
        # Apps of other servers run where modelpad is not installed: they set the variable.
        lines = [line for line in lines if text.find(VARIABLE) > text.find("import onnxruntime")]
    assert not lines, f"line {lines}: use modelpad.runtime.load_onnxruntime"


@pytest.mark.parametrize(
    "line",
    [
        "import onnxruntime",
        "def f():\n    import onnxruntime.quantization as q",
        "from onnxruntime import InferenceSession",
        "importlib.import_module('onnxruntime')",
    ],
)
def test_other_imports_are_found(line: str) -> None:
    assert find_imports(ast.parse(line))
