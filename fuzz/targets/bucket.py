"""A version's manifest and a model's state in a bucket: the manifest, a zero byte, the state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fuzz.files import make_folder
from fuzz.models import allow_errors
from modelpad.errors import StoreError
from modelpad.locations import RemoteLocation
from modelpad.store.objects import Found
from modelpad.store.remote import RemoteStore

DECODERS = ("modelpad.store.remote",)


class Bucket:
    """Objects by path. Nothing is downloaded."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self._objects = objects

    def list(self, folder: str) -> dict[str, str]:
        """Every path below `folder`; the contents are their own tags."""
        return {
            path: str(hash(body))
            for path, body in self._objects.items()
            if path.startswith(f"{folder}/")
        }

    def read(self, path: str) -> Found | None:
        """An object."""
        body = self._objects.get(path)
        return None if body is None else Found(body, str(hash(body)), {})

    def download(self, path: str, file: Path, max_bytes: int) -> None:
        """Fails; the path must be that of a push."""
        kind, name, token, *_ = path.split("/")
        assert (kind, name, len(token)) == ("files", "model", 32), path
        raise StoreError(path)


def fuzz(data: bytes) -> None:
    """Works out what a server should load, and opens it."""
    manifest, _, state = data.partition(b"\0")
    objects = {
        "models/model/1/manifest.json": manifest,
        "models/model/2/manifest.json": manifest,
        "models/model/aliases.json": state,
        f"models/{data[:30].decode('utf-8', 'replace')}/manifest.json": manifest,
    }
    bucket: Any = Bucket(objects)
    store = RemoteStore(bucket, RemoteLocation("s3://bucket", make_folder()))
    with allow_errors():
        store.open("model@1")
    plan = store.desired_state("model", 2)
    assert plan.versions <= {1, 2}, plan
    listing = store.listing()
    for name in listing.names():
        assert "/" not in name, name
