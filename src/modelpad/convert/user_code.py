"""Python code of the user's own, which `--module` names. Naming a file means to run it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from modelpad.errors import UsageError, first_line


def load_file(path: Path) -> ModuleType:
    """The module in a Python file, which may import its neighbours. Raises `UsageError`."""
    if not path.is_file():
        raise UsageError(f"--module: there is no file {path}.", hint="Check the path.")
    name = path.stem
    if name in sys.modules:
        name = f"_modelpad_{name}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"--module: {path.name} is not a Python file.", hint="Name a .py file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # as an import does; data classes and pickles look there
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise UsageError(
            f"--module {path.name}: {type(error).__name__}: {first_line(error)}.",
            hint="It is run as `import` would run it.",
        ) from error
    return module
