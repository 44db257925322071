"""The store: all bundles, their versions and aliases. Independent of engines or HTTP."""

from modelpad.store.aliases import DesiredState
from modelpad.store.local import Entry, LocalStore
from modelpad.store.resolve import ResolvedBundle, list_names, resolve_bundle

__all__ = ["DesiredState", "Entry", "LocalStore", "ResolvedBundle", "list_names", "resolve_bundle"]
