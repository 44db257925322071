"""Where a user's files are: the store, the cache and the folders of data sets.

Functions of the environment's variables, which only `cli/` and `api.py` read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def locate_store(given: str | Path | None, variables: Mapping[str, str]) -> Path:
    """The store's folder: `given`, else `MODELPAD_STORE`, else one of the user's own."""
    chosen = given or variables.get("MODELPAD_STORE")
    if chosen:
        return Path(chosen)
    data = Path(variables.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return data / "modelpad" / "store"


def locate_jobs(given: str | Path | None, variables: Mapping[str, str]) -> Path:
    """The folder of jobs: `given`, else `MODELPAD_JOBS`, else one of the user's own."""
    chosen = given or variables.get("MODELPAD_JOBS")
    if chosen:
        return Path(chosen)
    data = Path(variables.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return data / "modelpad" / "jobs"


def locate_cache(variables: Mapping[str, str]) -> Path:
    """The folder for downloads and imported files: `MODELPAD_CACHE`, else the user's cache."""
    cache = Path(variables.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(variables.get("MODELPAD_CACHE") or cache / "modelpad")


def locate_data(variables: Mapping[str, str]) -> tuple[Path, ...]:
    """The folders of data sets in `MODELPAD_DATA`, separated as in `PATH`."""
    roots = variables.get("MODELPAD_DATA", "").split(os.pathsep)
    return tuple(Path(root) for root in roots if root)
