"""Resolves what a user types to a bundle: a path, a model in the store, or a bundled model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modelpad.bundle import Bundle, open_bundle
from modelpad.errors import ModelNotFound, VersionNotFound, suggest_name
from modelpad.locations import StoreLocation
from modelpad.store.opening import open_store
from modelpad.zoo import zoo_bundles


@dataclass(frozen=True, slots=True)
class ResolvedBundle:
    """A verified bundle, with its name and version."""

    name: str
    version: int
    bundle: Bundle


def resolve_bundle(source: str, location: StoreLocation) -> ResolvedBundle:
    """The bundle that `source` refers to: a folder, `NAME` or `NAME@VERSION_OR_ALIAS`.

    The store takes precedence over the models that ship with modelpad, which are version 1.

    Raises:
        ModelNotFound, VersionNotFound: there is no such bundle; the hint suggests the nearest name.
        BundleInvalid: the bundle is damaged.
        StoreError: the store cannot be read.
    """
    folder = Path(source)
    if folder.is_dir() and (folder / "manifest.json").is_file():
        bundle = open_bundle(folder)
        return ResolvedBundle(bundle.manifest.name, 1, bundle)
    store = open_store(location)
    names, zoo = store.names(), zoo_bundles()
    name = source.partition("@")[0]
    if name in names:
        entry = store.resolve(source)
        bundle = store.open(f"{name}@{entry.version}")
        return ResolvedBundle(name, entry.version, bundle)
    if name in zoo:
        if source not in (name, f"{name}@1", f"{name}@latest"):
            raise VersionNotFound(
                f"The model {name} that comes with modelpad has version 1 alone.",
                hint=f"Leave out {source.removeprefix(name)}.",
                known=["1"],
            )
        return ResolvedBundle(name, 1, open_bundle(zoo[name]))
    known = {*names, *zoo}
    raise ModelNotFound(
        f"There is no model {source!r}.", hint=suggest_name(name, known), known=sorted(known)
    )


def list_names(location: StoreLocation) -> list[str]:
    """The names of the models in the store, sorted. Raises `StoreError`."""
    return open_store(location).names()
