"""User-defined objects: a loss, metric or callback loaded from a file or module.

References are `focal.py:FocalLoss` or `package.module:object`; the working directory is searched
first. Independent of Keras.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from modelpad.errors import UsageError, first_line, suggest_name


def is_reference(text: str) -> bool:
    """Whether `text` refers to a user-defined object rather than a built-in of the framework."""
    return ":" in text


def load_object(reference: str, option: str) -> object:
    """The object that `FILE.py:OBJECT` or `MODULE:OBJECT` names; `option` is named in errors.

    Raises:
        UsageError: there is no such file, module or object, or importing it fails.
    """
    place, _, name = reference.rpartition(":")
    if not place or not name:
        raise UsageError(
            f"{option} {reference}: expected FILE.py:OBJECT or MODULE:OBJECT.",
            hint=f"For example: {option} my_objects.py:my_object",
        )
    is_file = place.endswith(".py") or "/" in place
    module = _load_file(place, option) if is_file else _load_module(place, option)
    try:
        found: object = getattr(module, name)
    except AttributeError:
        known = [each for each in vars(module) if not each.startswith("_")]
        raise UsageError(
            f"{option} {reference}: {place} has no object {name!r}.",
            hint=suggest_name(name, known, kind="object"),
        ) from None
    return found


def _load_file(place: str, option: str) -> ModuleType:
    path = Path(place).expanduser().resolve()
    if not path.is_file():
        raise UsageError(
            f"{option}: there is no file {place}.", hint=f"Searched for {path}. Check the path."
        )
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    if name in sys.modules:  # another option names the same file
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{option}: {place} is not a Python file.", hint="Give a file named *.py.")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    sys.modules[name] = module  # data classes look their module up while it runs
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, Exception):
            raise _explain(error, place, option) from error
        raise
    finally:
        sys.path.remove(str(path.parent))
    return module


def _load_module(place: str, option: str) -> ModuleType:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise _explain(error, place, option) from error
        raise UsageError(
            f"{option}: there is no module {place!r}.",
            hint=f"Searched {here} and the installed packages.",
        ) from error
    except Exception as error:
        raise _explain(error, place, option) from error
    finally:
        sys.path.remove(here)


def _explain(error: Exception, place: str, option: str) -> UsageError:
    return UsageError(
        f"{option}: importing {place} failed: {type(error).__name__}: {first_line(error, 200)}",
        hint="Run it with Python directly to see the full traceback.",
    )
