"""What every store can do, wherever it is.

A store implements the abstract methods; all others follow from them, as in `collections.abc`. Each
change of a model's state is one atomic step from what was read to what is written, so conflicting
changes by two processes cannot both succeed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

import msgspec

from modelpad.bundle import Bundle, Manifest
from modelpad.bundle.manifest import NAME
from modelpad.errors import ModelNotFound, StoreError, suggest_name
from modelpad.locations import StoreLocation
from modelpad.store.aliases import PRODUCTION, AliasState, DesiredState
from modelpad.store.stored_model import StoredModel

Check: TypeAlias = Callable[[Bundle, str, int], None]


class Entry(msgspec.Struct, frozen=True):
    """One version of one model in a store; a remote store fills `folder` when it is opened."""

    name: str
    version: int
    folder: Path


class Listing(Protocol):
    """The models of a store."""

    def names(self) -> list[str]:
        """The models with at least one version, sorted."""

    def versions(self, name: str) -> Sequence[int]:
        """The versions of a model, ascending; empty if there is no such model."""

    def read(self, name: str) -> StoredModel:
        """A model; without versions if there is none. Raises `StoreError`."""


class Store(ABC):
    """All bundles, their versions and aliases. Every method raises `StoreError`."""

    location: StoreLocation

    @abstractmethod
    def listing(self) -> Listing:
        """All models as they are now. Reading them all costs no more requests than one."""

    @abstractmethod
    def read(self, name: str) -> StoredModel:
        """A model as it is now; without versions if there is none."""

    @abstractmethod
    def change(self, name: str, decide: Callable[[StoredModel], AliasState]) -> StoredModel:
        """Replaces a model's state by the one that `decide`, which may raise, chooses.

        `decide` may be called again when another process changes the model meanwhile. Raises
        `ModelNotFound`.
        """

    @abstractmethod
    def resolve(self, reference: str) -> Entry:
        """The version that `NAME`, `NAME@3` or `NAME@production` refers to.

        A name alone refers to its `production` alias if set, else to the newest version.

        Raises:
            ModelNotFound, VersionNotFound: there is none; the error lists what exists.
        """

    @abstractmethod
    def manifest(self, reference: str) -> Manifest:
        """The manifest of a version, without its files. Raises as `open`."""

    @abstractmethod
    def open(self, reference: str, *, verify: bool = True) -> Bundle:
        """The bundle that `reference` refers to. Raises like `resolve` and `open_bundle`."""

    @abstractmethod
    def push(self, bundle: Bundle, name: str | None = None, version: int | None = None) -> Entry:
        """Copies a bundle into the store as the next version of `name`, by default its own.

        It becomes `version`, if that is higher than any version before.

        Raises:
            StoreError: the store cannot be written, or the name differs from another model's in
                case alone.
            ChecksumMismatch: the bundle has changed since it was opened.
        """

    @abstractmethod
    def read_signature_file(self, name: str, version: int) -> bytes | None:
        """The `model.sig` of a version, its digital signature; None if it is not signed.

        Raises `BundleInvalid` if it cannot be read.
        """

    @abstractmethod
    def write_signature_file(self, name: str, version: int, body: bytes) -> None:
        """Replaces the `model.sig` of a version; the bundle stays as it is.

        Raises `VersionNotFound`.
        """

    @abstractmethod
    def remove(self, reference: str) -> Entry:
        """Removes one version. Its number is never reused.

        Raises:
            StoreError: the version has an alias, traffic or is the shadow, or cannot be removed.
        """

    @abstractmethod
    def verify(self, reference: str | None = None, check: Check | None = None) -> list[str]:
        """One line for each damaged version; checks all versions without a reference.

        `check` gets the bundle, name and version of each intact one, and may raise `BundleInvalid`.
        """

    @abstractmethod
    def check_writable(self) -> None:
        """Raises `StoreError` if a push would fail. Call it before hours of training."""

    @abstractmethod
    def record_failure(self, name: str, version: int, reason: str | None) -> None:
        """Records why a server could not load a version; None clears the record.

        Nothing is recorded for a version that has been removed.
        """

    @abstractmethod
    def read_failure(self, name: str, version: int) -> str | None:
        """Why a server last failed to load a version; None if it did not fail."""

    @abstractmethod
    def record_data(self, name: str, version: int, path: Path) -> None:
        """Records where on this machine the data of a version is; its bundle does not say.

        Nothing is recorded for a version that has been removed.
        """

    @abstractmethod
    def read_data(self, name: str, version: int) -> Path | None:
        """Where the data of a version was when it was trained here; None if that is unknown."""

    def names(self) -> list[str]:
        """The models with at least one version, sorted."""
        return self.listing().names()

    def versions(self, name: str) -> list[int]:
        """The versions of a model, ascending; empty if there is no such model."""
        return [*self.read(name).versions]

    def aliases(self, name: str) -> dict[str, int]:
        """Each alias's version, including `latest`, which is always the newest."""
        return self.read(name).aliases

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Points `alias` at `version`.

        Raises:
            UsageError: `alias` is a number, `latest`, or not a valid name.
            ModelNotFound, VersionNotFound: there is no such version.
        """
        self.change(name, lambda model: model.point(alias, version))

    def promote(self, name: str, version: int) -> Entry:
        """Points `production` at `version`, for all requests. Raises like `set_alias`.

        This ends a traffic split and removes the shadow.
        """
        self.change(name, lambda model: model.promote(version))
        return self.resolve(f"{name}@{version}")

    def rollback(self, name: str) -> Entry:
        """Points `production` at the version before the one that `NAME` refers to now.

        That is the previous `production` version, else the next lower version.

        Raises:
            VersionNotFound: there is no earlier version.
        """
        model = self.change(name, lambda model: model.roll_back())
        return self.resolve(f"{name}@{model.state.aliases[PRODUCTION]}")

    def set_traffic(self, name: str, shares: Mapping[int, int]) -> None:
        """Splits requests for `name` among versions, in percent. No shares end the split.

        Raises:
            UsageError: the shares do not add up to 100.
            ModelNotFound, VersionNotFound: there is no such version.
        """
        self.change(name, lambda model: model.split(shares))

    def set_shadow(self, name: str, version: int | None) -> None:
        """Sends copies of requests to `version`; None stops it. Raises like `resolve`."""
        self.change(name, lambda model: model.shadow(version))

    def desired_state(self, name: str, keep: int = 1, alias: str = "") -> DesiredState:
        """The versions that a server should load; see `StoredModel.plan`.

        Raises `ModelNotFound` if there is no such model, and `VersionNotFound` without the alias.
        """
        return require_model(self, name).plan(keep, alias)


def require_model(store: Store, name: str) -> StoredModel:
    """A model with at least one version. Raises `ModelNotFound`, with the nearest name."""
    model = store.read(name) if NAME.fullmatch(name) else StoredModel(name, ())
    if not model.versions:
        raise unknown_model(name, store.names(), store.location)
    return model


def unknown_model(name: str, known: Iterable[str], where: StoreLocation) -> ModelNotFound:
    """The error about a name that a store does not have."""
    return ModelNotFound(
        f"There is no model {name!r} in {where}.",
        hint=suggest_name(name, known),
        known=sorted(known),
    )


def check_case(name: str, names: Iterable[str]) -> None:
    """Raises `StoreError` for a new model whose name differs from another's in case alone.

    File systems that ignore case would keep both in one folder.
    """
    same = sorted(each for each in names if each != name and each.lower() == name.lower())
    if same:
        raise StoreError(
            f"The store has a model {same[0]!r}, whose name differs from {name!r} in case alone.",
            hint=f"Use that name, or another one: --name {name}-2",
        )
