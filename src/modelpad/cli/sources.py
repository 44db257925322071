"""Finds the model named on the command line; reports imports of files on stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from modelpad.server.sources import ModelFinder

if TYPE_CHECKING:
    from modelpad.cli.settings import Settings
    from modelpad.store import ResolvedBundle


def find_model(given: str, settings: Settings) -> ResolvedBundle:
    """The bundle of a name, of a folder or of a model's file. Raises as `ModelFinder.find`."""
    return ModelFinder(settings.store, settings.cache, print_progress).find(given)


def print_progress(text: str) -> None:
    """Prints a line on stderr, where it does not mix with a command's output."""
    print(text, file=sys.stderr, flush=True)
