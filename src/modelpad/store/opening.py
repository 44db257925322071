"""Opens the store at a location: the one place that knows which kinds there are."""

from __future__ import annotations

from pathlib import Path

from modelpad.locations import StoreLocation
from modelpad.store.local import LocalStore
from modelpad.store.store import Store


def open_store(location: StoreLocation) -> Store:
    """The store at a location; it is not read yet.

    Raises `MissingExtra` for one in a bucket, and `StoreError` for one that is to be remembered,
    but was never seen.
    """
    if isinstance(location, Path):
        return LocalStore(location)
    from modelpad.store.memory import RememberedObjects
    from modelpad.store.objects import open_objects
    from modelpad.store.remote import RemoteStore

    if location.remembered:
        return RemoteStore(RememberedObjects(location.folder, location.url), location)
    return RemoteStore(open_objects(location.url), location)
