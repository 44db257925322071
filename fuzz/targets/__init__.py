"""One module per decoder: `DECODERS` names the modules it covers, `fuzz(data)` runs them.

`fuzz` may raise `ModelpadError` and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

from modelpad.errors import ModelpadError

CORPUS = Path(__file__).parents[1] / "corpus"
NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))

Fuzz = Callable[[bytes], None]


def load_target(name: str) -> ModuleType:
    """Imports a target. Raises `ImportError` if an optional package is missing."""
    return import_module(f"fuzz.targets.{name}")


def read_corpus(name: str) -> dict[str, bytes]:
    """A target's inputs, by file name."""
    return {path.name: path.read_bytes() for path in sorted((CORPUS / name).iterdir())}


def run_input(fuzz: Fuzz, data: bytes) -> BaseException | None:
    """The unexpected error that a target raised for this input, if any."""
    try:
        fuzz(data)
    except ModelpadError:
        return None
    except Exception as error:
        return error
    return None
