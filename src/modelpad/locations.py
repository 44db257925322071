"""Where a user's files are: the store, the cache and the folders of data sets.

Functions of the environment's variables, which only `cli/` and `api/` read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import msgspec

from modelpad.errors import UsageError

SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/")  # one letter is a Windows drive
REMOTE = re.compile(r"(s3|gs)://[^/\s?#]+(/[^\s?#]*)?|az://[^/\s?#]+/[^/\s?#]+(/[^\s?#]*)?")


class RemoteLocation(msgspec.Struct, frozen=True):
    """A store in a bucket, and the folder on this machine that caches its versions.

    A `remembered` one is the store as this machine has last seen it, with the versions in the
    cache: the bucket is not asked.
    """

    url: str
    folder: Path
    remembered: bool = False

    def __str__(self) -> str:
        return self.url

    def absolute(self) -> RemoteLocation:
        """The same, wherever the current folder is; as `Path.absolute`."""
        return msgspec.structs.replace(self, folder=self.folder.absolute())


StoreLocation: TypeAlias = Path | RemoteLocation


def split_location(location: StoreLocation) -> tuple[str, Path]:
    """The URL, "" for a folder, and the folder: of the store itself, or of its cache."""
    return ("", location) if isinstance(location, Path) else (location.url, location.folder)


def join_location(url: str, folder: Path) -> StoreLocation:
    """The inverse of `split_location`."""
    return RemoteLocation(url, folder) if url else folder


def locate_store(
    given: str | os.PathLike[str] | RemoteLocation | None, variables: Mapping[str, str]
) -> StoreLocation:
    """The store: `given`, else `MODELPAD_STORE`, else a folder of the user's own.

    Raises `UsageError` for a URL of a kind that is not supported.
    """
    chosen = given or variables.get("MODELPAD_STORE")
    if isinstance(chosen, RemoteLocation):
        return chosen
    if isinstance(chosen, str) and SCHEME.match(chosen):
        return locate_remote(chosen, locate_cache(variables))
    return Path(chosen) if chosen else locate_own_store(variables)


def locate_remote(url: str, cache: Path) -> RemoteLocation:
    """A bucket's store, which is cached in a folder of its own. Raises `UsageError`."""
    import hashlib

    if not REMOTE.fullmatch(url):
        raise UsageError(
            f"{url} is not the URL of a store.",
            hint="Use s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://ACCOUNT/CONTAINER/PREFIX"
            " or a folder.",
        )
    url = url.rstrip("/")
    words = re.sub(r"[^A-Za-z0-9]+", "-", url)[:60]
    digest = hashlib.sha256(url.encode()).hexdigest()[:12]
    return RemoteLocation(url, cache / "stores" / f"{words}-{digest}")


def locate_own_store(variables: Mapping[str, str]) -> Path:
    """The store in a folder of the user's own, for when no other is chosen."""
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
