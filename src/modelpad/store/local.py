"""A store in a local folder: `NAME/VERSION/` bundles, and `NAME/aliases.json`.

Reads are pure and need no lock: versions are renamed into place and aliases replaced as a whole.
Every change of a model (push, remove, aliases, traffic, shadow) holds that model's lock from its
checks to its last rename, so two processes never both succeed with changes that exclude each other.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from modelpad.bundle import Bundle, open_bundle
from modelpad.bundle.locks import hold_lock
from modelpad.bundle.manifest import NAME
from modelpad.bundle.writer import stage_bundle, sync_folder
from modelpad.errors import (
    BundleInvalid,
    ModelNotFound,
    StoreError,
    UsageError,
    VersionNotFound,
    suggest_name,
)
from modelpad.store.aliases import ALIASES, LATEST, PRODUCTION, AliasState, DesiredState
from modelpad.store.aside import name_aside, replace_file, sweep_folder

LOCK = ".lock"
MAX_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Entry:
    """One version of one model in the store."""

    name: str
    version: int
    folder: Path


class LocalStore:
    """All bundles under `root`, which need not exist yet."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """The models that have a version, sorted."""
        folders = self._list(self.root)
        return sorted(f.name for f in folders if NAME.fullmatch(f.name) and self.versions(f.name))

    def versions(self, name: str) -> list[int]:
        """The versions of a model, ascending; none when there is no such model."""
        numbers = [f.name for f in self._list(self.root / name) if _is_number(f.name)]
        return sorted(int(number) for number in numbers if number == str(int(number)))

    def aliases(self, name: str) -> dict[str, int]:
        """What each alias means, `latest` (always the newest version) among them."""
        versions = self.versions(name)
        kept = {k: v for k, v in self._read_book(name).aliases.items() if v in versions}
        return kept | ({LATEST: versions[-1]} if versions else {})

    def resolve(self, reference: str) -> Entry:
        """The version that `NAME`, `NAME@3` or `NAME@production` means.

        A name alone means its `production` alias where it is set, else the newest version.

        Raises:
            ModelNotFound, VersionNotFound: there is none; the error names what there is.
        """
        name, at, wanted = reference.partition("@")
        versions = self.versions(name) if NAME.fullmatch(name) else []
        if not versions:
            known = self.names()
            raise ModelNotFound(
                f"There is no model {name!r} in {self.root}.",
                hint=suggest_name(name, known),
                known=known,
            )
        aliases = self.aliases(name)
        if not at:
            version = aliases.get(PRODUCTION, versions[-1])
        elif _is_number(wanted) and int(wanted) in versions:
            version = int(wanted)
        elif wanted in aliases:
            version = aliases[wanted]
        else:
            known = [str(number) for number in versions] + sorted(aliases)
            raise VersionNotFound(
                f"{name} has no version or alias {wanted!r}.",
                hint=f"It has: {', '.join(known)}.",
                known=known,
            )
        return Entry(name, version, self.root / name / str(version))

    def open(self, reference: str, *, verify: bool = True) -> Bundle:
        """The bundle that `reference` means. Raises as `resolve` and `open_bundle`."""
        return open_bundle(self.resolve(reference).folder, verify=verify)

    def push(self, bundle: Bundle, name: str | None = None) -> Entry:
        """Copies a bundle into the store as the next version of its model, or of `name`.

        Raises:
            StoreError: the store cannot be written; nothing is left behind.
            ChecksumMismatch: the bundle changed since it was opened.
        """
        model = name or bundle.manifest.name
        manifest = replace(bundle.manifest, name=model)
        open_bundle(bundle.folder)
        files: dict[str, bytes | Path] = {path: bundle.path(path) for path in manifest.files}
        self._check_folder(model)
        with stage_bundle(self.root / model, manifest, files) as staged, self._changing(model):
            version = self._next_version(model)
            staged.rename(self.root / model / str(version))
            sync_folder(self.root / model)
        return Entry(model, version, self.root / model / str(version))

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Lets `NAME@alias` mean `version`.

        Raises:
            UsageError: `alias` is a number, `latest`, or no plain word.
            ModelNotFound, VersionNotFound: there is no such version.
        """
        if alias == LATEST or alias.isdecimal() or not NAME.fullmatch(alias):
            raise UsageError(
                f"{alias!r} cannot be an alias.",
                hint="Use a word such as production or staging; latest is always the newest.",
            )

        def change(book: AliasState) -> AliasState:
            self.resolve(f"{name}@{version}")
            return book.point(alias, version)

        self._change_book(name, change)

    def rollback(self, name: str) -> Entry:
        """Lets `production` mean the version before the one that `NAME` means now.

        That is the version that `production` meant before, else the next lower one.

        Raises:
            VersionNotFound: there is none before it.
        """

        def change(book: AliasState) -> AliasState:
            now, versions = self.resolve(name).version, self.versions(name)
            history = [number for number in book.history if number in versions and number != now]
            lower = [number for number in versions if number < now]
            if not history and not lower:
                raise VersionNotFound(
                    f"{name} has no version before {now}.", hint="There is nothing to go back to."
                )
            target = history.pop() if history else lower[-1]
            aliases = book.aliases | {PRODUCTION: target}
            return replace(book, aliases=aliases, history=history, traffic={}, shadow=None)

        return self._entry(name, self._change_book(name, change).aliases[PRODUCTION])

    def promote(self, name: str, version: int) -> Entry:
        """Lets `production` mean `version`, for all requests. Raises as `set_alias` does."""

        def change(book: AliasState) -> AliasState:
            self.resolve(f"{name}@{version}")
            return replace(book.point(PRODUCTION, version), traffic={}, shadow=None)

        self._change_book(name, change)
        return self._entry(name, version)

    def set_traffic(self, name: str, shares: Mapping[int, int]) -> None:
        """Shares requests for `name` among versions, in percent; none: all go to what it means.

        Raises:
            UsageError: the shares do not add up to 100.
            ModelNotFound, VersionNotFound: there is no such version.
        """
        if shares and (sum(shares.values()) != 100 or min(shares.values()) < 0):
            raise UsageError(
                f"The shares add up to {sum(shares.values())}, not to 100.",
                hint=f"For example: modelpad models traffic {name} 1=90 2=10",
            )
        kept = {version: share for version, share in shares.items() if share}

        def change(book: AliasState) -> AliasState:
            for version in shares:
                self.resolve(f"{name}@{version}")
            return replace(book, traffic=kept)

        self._change_book(name, change)

    def set_shadow(self, name: str, version: int | None) -> None:
        """Lets `version` get a copy of each request; None: no longer. Raises as `resolve`."""

        def change(book: AliasState) -> AliasState:
            if version is not None:
                self.resolve(f"{name}@{version}")
            return replace(book, shadow=version)

        self._change_book(name, change)

    def plan(self, name: str, keep: int = 1) -> DesiredState:
        """What a server should hold: what the name means, shares and shadow.

        The newest `keep` too, where these are more than one: to keep 1 is to keep what the name
        means, also where that is not the last.

        Raises `ModelNotFound` when there is no such model.
        """
        live = self.resolve(name).version
        versions, book = self.versions(name), self._read_book(name)
        traffic = {v: share for v, share in book.traffic.items() if v in versions}
        shadow = book.shadow if book.shadow in versions else None
        wanted = {live, *traffic, *(versions[-keep:] if keep > 1 else ())}
        wanted |= {shadow} if shadow is not None else set()
        aliases = {a: v for a, v in self.aliases(name).items() if v in wanted}
        whole = traffic if sum(traffic.values()) == 100 else {}
        return DesiredState(live, frozenset(wanted), aliases, whole, shadow)

    def note_failure(self, name: str, version: int, reason: str | None) -> None:
        """Keeps why a server could not open a version; None when it could after all.

        Nothing is kept for a version that has been removed.
        """
        path = self._failure_path(name, version)
        if not (path.exists() if reason is None else self.versions(name)):
            return
        with self._changing(name) as folder:
            if reason is None:
                path.unlink(missing_ok=True)
            elif version in self.versions(name):
                replace_file(folder, path.name, reason.encode())

    def read_failure(self, name: str, version: int) -> str | None:
        """Why a server could not open a version, the last time that one tried."""
        try:
            return self._failure_path(name, version).read_text("utf-8")
        except OSError:
            return None

    def verify(self, reference: str | None = None) -> list[str]:
        """A line for each version that is damaged; every version when none is named."""
        entries = [self.resolve(reference)] if reference else list(self._entries())
        findings = []
        for entry in entries:
            try:
                open_bundle(entry.folder)
            except BundleInvalid as error:
                findings.append(f"{entry.name}@{entry.version}: {error.message}")
        return findings

    def remove(self, reference: str) -> Entry:
        """Removes one version; its number is never used again.

        A version that is a symbolic link is unlinked; what it points to stays.

        Raises:
            StoreError: an alias, the traffic or the shadow means it, or it cannot be removed.
        """
        name = self.resolve(reference).name
        with self._changing(name) as folder:
            entry = self.resolve(reference)
            self._check_unused(entry)
            self._write_book(name, self._read_book(name))  # with the highest number so far
            self._failure_path(name, entry.version).unlink(missing_ok=True)
            if entry.folder.is_symlink():
                entry.folder.unlink()
                sync_folder(folder)
                return entry
            hidden = folder / name_aside(f"removed-{entry.version}")
            entry.folder.rename(hidden)
            sync_folder(folder)
            try:
                shutil.rmtree(hidden)
            except OSError as error:
                raise StoreError(
                    f"{name}@{entry.version} is removed, but its files remain in {hidden}:"
                    f" {error.strerror}.",
                    hint="Delete that folder.",
                ) from error
        return entry

    def check_writable(self) -> None:
        """Raises `StoreError` when a push would fail, before hours are spent on a training."""
        from tempfile import TemporaryFile  # it has no name that a killed process could leave

        with self._writing():
            self.root.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=self.root) as probe:
                probe.write(b"0")

    def _entries(self) -> Iterator[Entry]:
        for name in self.names():
            for version in self.versions(name):
                yield Entry(name, version, self.root / name / str(version))

    def _entry(self, name: str, version: int) -> Entry:
        return Entry(name, version, self.root / name / str(version))

    def _failure_path(self, name: str, version: int) -> Path:
        return self.root / name / f".failed-{version}"

    def _next_version(self, name: str) -> int:
        version = max([self._read_book(name).highest, *self.versions(name)]) + 1
        while os.path.lexists(self.root / name / str(version)):
            version += 1
        return version

    def _check_unused(self, entry: Entry) -> None:
        """Raises `StoreError` when requests may still go to a version."""
        book, said = self._read_book(entry.name), f"{entry.name}@{entry.version}"
        if meant := book.find_uses(entry.version):
            hint = f"First: modelpad models alias {entry.name} {meant[0]} ANOTHER_VERSION"
            if len(self.versions(entry.name)) == 1:
                hint = f"It is the only one. To be rid of all, delete {entry.folder.parent}"
            raise StoreError(f"{said} is what {', '.join(meant)} means.", hint=hint)
        if entry.version in book.traffic:
            raise StoreError(
                f"{said} gets {book.traffic[entry.version]} % of the traffic.",
                hint=f"First: modelpad models traffic {entry.name}",
            )
        if entry.version == book.shadow:
            raise StoreError(
                f"{said} is the shadow.", hint=f"First: modelpad models shadow {entry.name} 0"
            )

    def _check_folder(self, name: str) -> None:
        """Raises `StoreError` for a model whose folder is elsewhere: it is only read."""
        folder = self.root / name
        if folder.is_symlink():
            raise StoreError(
                f"{folder} is a symbolic link; models are changed in the store that holds them.",
                hint=f"Change it there: --store {folder.resolve().parent}",
            )

    @contextmanager
    def _changing(self, name: str) -> Iterator[Path]:
        """Holds the lock of a model and gives its folder, swept of what killed processes left."""
        self._check_folder(name)
        folder = self.root / name
        with self._writing(), hold_lock(folder / LOCK):
            sweep_folder(folder)
            yield folder

    def _read_book(self, name: str) -> AliasState:
        path = self.root / name / ALIASES
        try:
            return AliasState.from_json(path.read_bytes())
        except FileNotFoundError:
            return AliasState()
        except (OSError, ValueError) as error:
            raise StoreError(
                f"{path} cannot be read: {error}.",
                hint="Repair or delete that file; versions are not touched by it.",
            ) from error

    def _change_book(self, name: str, change: Callable[[AliasState], AliasState]) -> AliasState:
        """The book after `change`, which is asked under the lock and may raise."""
        self.resolve(name)
        with self._changing(name):
            book = change(self._read_book(name))
            self._write_book(name, book)
        return book

    def _write_book(self, name: str, book: AliasState) -> None:
        highest = max([book.highest, *self.versions(name)])
        replace_file(self.root / name, ALIASES, replace(book, highest=highest).to_json())

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"The store {self.root} cannot be written: {error.strerror}.",
                hint="Check its rights and the space left, or choose another: --store DIR.",
            ) from error

    def _list(self, folder: Path) -> list[Path]:
        try:
            return [path for path in folder.iterdir() if path.is_dir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise StoreError(
                f"{folder} cannot be read: {error.strerror}.", hint="Check its rights."
            ) from error


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS
