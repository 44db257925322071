"""Copies what one store has and another lacks, under the same numbers and aliases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from modelpad.errors import StoreError
from modelpad.store.store import Store
from modelpad.store.stored_model import StoredModel


@dataclass(frozen=True, slots=True)
class Copied:
    """What has been copied: versions, and signatures of others, as `NAME@VERSION`; aliases as
    `NAME@ALIAS`.
    """

    versions: tuple[str, ...] = ()
    signatures: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


def copy_missing(source: Store, target: Store, report: Callable[[str], None]) -> Copied:
    """Copies every version, signature and alias of `source` that `target` lacks.

    `report` gets a line for each one. A version that `target` has already, or has removed, stays as
    it is there, but for its signature: that of `source` replaces it. Traffic and shadows are left
    alone, as they belong to the servers of a store. What was copied before an error stays, and the
    next call goes on from there.

    Raises:
        StoreError: a version is another one there, or a store cannot be read or written.
        BundleInvalid: a version of `source` is damaged.
    """
    versions: list[str] = []
    signatures: list[str] = []
    aliases: list[str] = []
    here, there = source.listing(), target.listing()
    for name in here.names():
        model = here.read(name)
        for version in find_missing(source, target, model, there.read(name)):
            copy(source, target, name, version)
            versions.append(f"{name}@{version}")
            report(f"Copied {versions[-1]}.")
        now = target.read(name)
        for version in sorted({*model.versions} & {*now.versions}):
            reference = f"{name}@{version}"
            if reference not in versions and copy_signature(source, target, name, version):
                signatures.append(reference)
                report(f"Copied the signature of {reference}.")
        for alias, version in model.state.aliases.items():
            if version in now.versions and now.aliases.get(alias) != version:
                target.set_alias(name, alias, version)
                aliases.append(f"{name}@{alias}")
                report(f"{aliases[-1]} is now version {version}.")
    return Copied(tuple(versions), tuple(signatures), tuple(aliases))


def find_missing(
    source: Store, target: Store, model: StoredModel, known: StoredModel
) -> Iterator[int]:
    """The versions of a model that `target`, where it is `known`, has never had.

    Raises `StoreError` if a version has other files there.
    """
    for version in model.versions:
        if version >= known.next_version:
            yield version
        elif version in known.versions:
            reference = f"{model.name}@{version}"
            if source.manifest(reference).files != target.manifest(reference).files:
                raise StoreError(
                    f"{reference} is another model in {target.location} than in {source.location}.",
                    hint=f"To add it as a new version: modelpad models push {reference}",
                )


def copy(source: Store, target: Store, name: str, version: int) -> None:
    """Copies one version under its number. Raises `StoreError` if another push has taken it."""
    entry = target.push(source.open(f"{name}@{version}"), name, version)
    if entry.version != version:
        raise StoreError(
            f"{name}@{version} became version {entry.version} in {target.location}, because"
            " another push was faster.",
            hint="Compare the two stores, and remove the version that is not wanted.",
        )


def copy_signature(source: Store, target: Store, name: str, version: int) -> bool:
    """Copies the signature of a version, if there is one that `target` does not have."""
    body = source.read_signature_file(name, version)
    if body is None or body == target.read_signature_file(name, version):
        return False
    target.write_signature_file(name, version, body)
    return True
