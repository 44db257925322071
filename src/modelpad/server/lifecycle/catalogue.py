"""What a server may serve: the store's models, and bundles given by path."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from modelpad.errors import ModelNotFound, StoreError, VersionNotFound
from modelpad.server.models import LoadOptions, ServedModel
from modelpad.store import DesiredState, Listing, ResolvedBundle, open_store

if TYPE_CHECKING:
    from pathlib import Path

    from modelpad.locations import StoreLocation
    from modelpad.server.lifecycle.overrides import Overrides


log = logging.getLogger("modelpad.server")


class Catalogue:
    """Desired states and bundles by name.

    `words` are the names and paths of the command line, none for every model of the store; `given`
    the bundles found by them. A name, or an alias of a name, follows the store; a path, or a
    version of a name, stays what it was. Models that were trained on `collections` are always
    served.
    """

    def __init__(
        self,
        location: StoreLocation,
        words: Sequence[str],
        given: Sequence[ResolvedBundle],
        overrides: Overrides,
        options: LoadOptions,
        keep: int = 1,
        collections: Path | None = None,
    ) -> None:
        self.overrides = overrides
        self._store = open_store(location)
        self._words = words
        self._followed = dict(map(split_alias, words))
        self._options = options
        self._keep = keep
        self._collections = collections
        self._given: dict[str, dict[int, ResolvedBundle]] = {}
        for found in given:
            self._given.setdefault(found.name, {})[found.version] = found

    def read_plans(self) -> Mapping[str, DesiredState]:
        """What should be served, by name. Raises `StoreError` when the store cannot be read."""
        listing = self._store.listing()
        names = (name for name in self._list_names(listing) if self._wants(name, listing))
        return self._plan_all(names, listing)

    def read_all(self) -> Mapping[str, DesiredState]:
        """What could be served, by name. Raises as `read_plans`."""
        listing = self._store.listing()
        return self._plan_all(self._list_names(listing), listing)

    def load(self, name: str, version: int) -> ServedModel:
        """Loads one version. Raises as `ServedModel.load`, and `VersionNotFound`."""
        found = self._given.get(name, {}).get(version)
        if found is not None and self._is_given(name, self._store.listing()):
            return ServedModel.load(name, version, found.bundle, self._options)
        bundle = self._store.open(f"{name}@{version}")
        return ServedModel.load(name, version, bundle, self._options)

    def record_failure(self, name: str, version: int, reason: str | None) -> None:
        """Records why a version failed to load, for `modelpad models show`; None clears it."""
        if name not in self._given or not self._is_given(name, self._store.listing()):
            self._store.record_failure(name, version, reason)

    def read_failure(self, name: str, version: int) -> str:
        """Why a version failed to load; "" when it did not."""
        return self._store.read_failure(name, version) or ""

    def _wants(self, name: str, listing: Listing) -> bool:
        if name in self.overrides.unloaded:
            return False
        known = not self._words or name in self._given or name in self.overrides.loaded
        return known or self._is_made_here(name, listing)

    def _is_made_here(self, name: str, listing: Listing) -> bool:
        """Whether a model was trained on a collection of this server."""
        versions = listing.versions(name) if self._collections is not None else ()
        data = self._store.read_data(name, versions[-1]) if versions else None
        return data is not None and self._collections in data.parents

    def _is_fixed(self, name: str) -> bool:
        return bool(self._words) and name not in self._followed

    def _is_given(self, name: str, listing: Listing) -> bool:
        return name in self._given and (self._is_fixed(name) or not listing.versions(name))

    def _list_names(self, listing: Listing) -> list[str]:
        return sorted({*listing.names(), *self._given})

    def _plan_all(self, names: Iterable[str], listing: Listing) -> Mapping[str, DesiredState]:
        """The desired states; those that cannot be read are skipped and do not block the others."""
        plans = {}
        for name in names:
            try:
                plans[name] = self._plan(name, listing)
            except (ModelNotFound, VersionNotFound):
                pass  # it, or its alias, has just been removed
            except StoreError as error:
                log.warning("%s: cannot read its state: %s", name, error.message)
        return plans

    def _plan(self, name: str, listing: Listing) -> DesiredState:
        if self._is_given(name, listing):
            versions = self._given[name]
            return DesiredState(max(versions), frozenset(versions))
        return listing.read(name).plan(self._keep, self._followed.get(name, ""))


def split_alias(word: str) -> tuple[str, str]:
    """The name and alias of `NAME@ALIAS`; a version stays with the name, as it is no alias."""
    name, _, alias = word.partition("@")
    return (word, "") if alias.isdecimal() else (name, alias)
