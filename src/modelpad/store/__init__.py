"""The store: all bundles, their versions and aliases. Knows nothing of engines or HTTP."""

from modelpad.store.aliases import Plan
from modelpad.store.find import Found, find_bundle, list_names
from modelpad.store.local import Entry, LocalStore

__all__ = ["Entry", "Found", "LocalStore", "Plan", "find_bundle", "list_names"]
