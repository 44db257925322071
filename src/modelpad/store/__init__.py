"""The store: all bundles, their versions and aliases. Knows nothing of engines or HTTP."""

from modelpad.store.aliases import DesiredState
from modelpad.store.find import ResolvedBundle, find_bundle, list_names
from modelpad.store.local import Entry, LocalStore

__all__ = ["DesiredState", "Entry", "LocalStore", "ResolvedBundle", "find_bundle", "list_names"]
