"""The store: all bundles, their versions and aliases. Independent of engines or HTTP."""

from modelpad.store.aliases import DesiredState
from modelpad.store.local import LocalStore
from modelpad.store.opening import open_store
from modelpad.store.resolve import ResolvedBundle, list_names, resolve_bundle
from modelpad.store.store import Entry, Listing, Store
from modelpad.store.stored_model import StoredModel

__all__ = [
    "DesiredState",
    "Entry",
    "Listing",
    "LocalStore",
    "ResolvedBundle",
    "Store",
    "StoredModel",
    "list_names",
    "open_store",
    "resolve_bundle",
]
