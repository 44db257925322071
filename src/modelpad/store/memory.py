"""What this machine has last seen of a store in a bucket, so that it can go on without it.

`seen.json` in the store's cache has the tags of all versions and states, and the states that were
read. Together with the cached versions that is enough to serve what was served before.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NoReturn

from modelpad.errors import StoreError
from modelpad.foreign_json import Json, as_object, list_at, load_json, object_at
from modelpad.store.objects import Found, Tag
from modelpad.store.staging import replace_file

SEEN = "seen.json"


class Memory:
    """The file `seen.json` in a cache; `tags` and `states` (tag and content) are by path."""

    def __init__(self, folder: Path) -> None:
        self.tags: dict[str, Tag] = {}
        self.states: dict[str, tuple[Tag, bytes]] = {}
        self._folder = folder
        with contextlib.suppress(OSError, LookupError, TypeError, ValueError):
            self._read(as_object(load_json((folder / SEEN).read_bytes()), SEEN))

    def note(self, tags: Mapping[str, Tag], states: Mapping[str, tuple[Tag, bytes]]) -> None:
        """Remembers a whole listing, and the states that it still shows. Errors are ignored."""
        known = self.states | {**states}
        current = {path: seen for path, seen in known.items() if tags.get(path) == seen[0]}
        if (self.tags, self.states) == (tags, current):
            return
        self.tags, self.states = {**tags}, current
        texts = {path: [tag, body.decode("utf-8")] for path, (tag, body) in current.items()}
        body = json.dumps({"tags": self.tags, "states": texts}).encode("utf-8")
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            replace_file(self._folder, SEEN, body)

    def _read(self, record: dict[str, Json]) -> None:
        self.tags = {path: str(tag) for path, tag in object_at(record, "tags").items()}
        states = object_at(record, "states")
        for path in states:
            tag, text = list_at(states, path)
            self.states[path] = str(tag), str(text).encode("utf-8")


class RememberedObjects:
    """The objects of a bucket as they were last seen; they cannot be downloaded or changed.

    Raises `StoreError` if this machine has never seen the store.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self.url = url
        self._memory = Memory(folder)
        if not self._memory.tags:
            raise StoreError(
                f"{url} cannot be reached, and this machine has no version of it.",
                hint="Check the network and the service's address, and try again.",
            )

    def list(self, folder: str) -> dict[str, Tag]:
        """As `Objects.list`."""
        tags = self._memory.tags.items()
        return {path: tag for path, tag in tags if path.startswith(f"{folder}/")}

    def read(self, path: str) -> Found | None:
        """As `Objects.read`, for states that were read before."""
        if path not in self._memory.states:
            self._refuse(path)
        tag, body = self._memory.states[path]
        return Found(body, tag, {})

    def download(self, path: str, file: Path, max_bytes: int) -> None:
        """Fails: what is not in the cache is not here."""
        self._refuse(path)

    def create(self, path: str, body: bytes) -> Tag | None:
        """Fails, as all that would change the store."""
        self._refuse(path)

    def replace(self, path: str, body: bytes, seen: Found | None) -> Tag | None:
        """Fails."""
        self._refuse(path)

    def write(self, path: str, body: bytes) -> None:
        """Fails."""
        self._refuse(path)

    def upload(self, path: str, file: Path) -> None:
        """Fails."""
        self._refuse(path)

    def delete(self, paths: Iterable[str]) -> None:
        """Fails."""
        self._refuse("")

    def _refuse(self, path: str) -> NoReturn:
        raise StoreError(
            f"{self.url} cannot be reached, and {path or 'it'} is not on this machine.",
            hint="Try again when the store is back.",
        )
