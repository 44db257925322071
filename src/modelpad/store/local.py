"""A store in a local folder: `NAME/VERSION/` bundles, and `NAME/aliases.json`.

Reads are pure and need no lock. A version is claimed by renaming a staged folder to the next free
number, which the file system does for one process alone; aliases are replaced whole under a lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from modelpad.bundle import Bundle, open_bundle
from modelpad.bundle.manifest import NAME
from modelpad.bundle.writer import STAGING, stage_bundle, sync_folder
from modelpad.errors import (
    BundleInvalid,
    ModelNotFound,
    StoreError,
    UsageError,
    VersionNotFound,
    suggest_name,
)
from modelpad.foreign_json import load_json

ALIASES = "aliases.json"
PRODUCTION, LATEST = "production", "latest"
REMOVED = ".removed-"
LEFTOVER_AGE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One version of one model in the store."""

    name: str
    version: int
    folder: Path


@dataclass(frozen=True, slots=True)
class AliasBook:
    """What aliases mean, what `production` meant before, and the highest version ever pushed."""

    aliases: dict[str, int] = field(default_factory=dict)
    history: list[int] = field(default_factory=list)
    highest: int = 0
    traffic: dict[int, int] = field(default_factory=dict)
    shadow: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a server should hold of one model: the versions, and who gets which.

    `live` is what the name alone means. `traffic` shares requests among versions, in percent; it is
    empty where all go to `live`. `shadow` gets a copy of each request, and is never heard.
    """

    live: int
    versions: frozenset[int]
    aliases: Mapping[str, int] = field(default_factory=dict)
    traffic: Mapping[int, int] = field(default_factory=dict)
    shadow: int | None = None


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
        numbers = [f.name for f in self._list(self.root / name) if f.name.isdecimal()]
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
        elif wanted.isdecimal() and int(wanted) in versions:
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
        self._clean(model)
        staged = stage_bundle(self.root / model, manifest, files)
        try:
            version = self._claim(model, staged)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
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
        self.resolve(f"{name}@{version}")

        def change(book: AliasBook) -> AliasBook:
            history = list(book.history)
            if alias == PRODUCTION and book.aliases.get(alias, version) != version:
                history.append(book.aliases[alias])
            return replace(book, aliases=book.aliases | {alias: version}, history=history)

        self._change_book(name, change)

    def rollback(self, name: str) -> Entry:
        """Lets `production` mean the version before the one that `NAME` means now.

        That is the version that `production` meant before, else the next lower one.

        Raises:
            VersionNotFound: there is none before it.
        """
        now = self.resolve(name).version

        def change(book: AliasBook) -> AliasBook:
            versions = self.versions(name)
            history = [number for number in book.history if number in versions and number != now]
            lower = [number for number in versions if number < now]
            if not history and not lower:
                raise VersionNotFound(
                    f"{name} has no version before {now}.", hint="There is nothing to go back to."
                )
            target = history.pop() if history else lower[-1]
            aliases = book.aliases | {PRODUCTION: target}
            return replace(book, aliases=aliases, history=history, traffic={}, shadow=None)

        self._change_book(name, change)
        return self.resolve(name)

    def promote(self, name: str, version: int) -> Entry:
        """Lets `production` mean `version`, for all requests. Raises as `set_alias` does."""
        self.set_alias(name, PRODUCTION, version)
        self._change_book(name, lambda book: replace(book, traffic={}, shadow=None))
        return self.resolve(name)

    def set_traffic(self, name: str, shares: Mapping[int, int]) -> None:
        """Shares requests for `name` among versions, in percent; none: all go to what it means.

        Raises:
            UsageError: the shares do not add up to 100.
            ModelNotFound, VersionNotFound: there is no such version.
        """
        self.resolve(name)
        for version in shares:
            self.resolve(f"{name}@{version}")
        if shares and (sum(shares.values()) != 100 or min(shares.values()) < 0):
            raise UsageError(
                f"The shares add up to {sum(shares.values())}, not to 100.",
                hint=f"For example: modelpad models traffic {name} 1=90 2=10",
            )
        kept = {version: share for version, share in shares.items() if share}
        self._change_book(name, lambda book: replace(book, traffic=kept))

    def set_shadow(self, name: str, version: int | None) -> None:
        """Lets `version` get a copy of each request; None: no longer. Raises as `resolve`."""
        self.resolve(name if version is None else f"{name}@{version}")
        self._change_book(name, lambda book: replace(book, shadow=version))

    def plan(self, name: str, keep: int = 1) -> Plan:
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
        return Plan(live, frozenset(wanted), aliases, whole, shadow)

    def note_failure(self, name: str, version: int, reason: str | None) -> None:
        """Keeps why a server could not open a version; None when it could after all."""
        path = self.root / name / f".failed-{version}"
        with self._writing():
            if reason is None:
                path.unlink(missing_ok=True)
            elif path.parent.is_dir():
                path.write_text(reason, "utf-8")

    def read_failure(self, name: str, version: int) -> str | None:
        """Why a server could not open a version, the last time that one tried."""
        try:
            return (self.root / name / f".failed-{version}").read_text("utf-8")
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

        Raises:
            StoreError: an alias means it, or it cannot be removed.
        """
        entry = self.resolve(reference)
        meant = [a for a, v in self._read_book(entry.name).aliases.items() if v == entry.version]
        if meant:
            act = f"alias {entry.name} {meant[0]}"
            hint = f"First: modelpad models {act} ANOTHER_VERSION"
            if len(self.versions(entry.name)) == 1:
                hint = f"It is the only one. To be rid of all, delete {entry.folder.parent}"
            raise StoreError(
                f"{entry.name}@{entry.version} is what {', '.join(sorted(meant))} means.",
                hint=hint,
            )
        self._change_book(entry.name, lambda book: book)
        hidden = entry.folder.with_name(f"{REMOVED}{entry.version}-{secrets.token_hex(4)}")
        with self._writing():
            entry.folder.rename(hidden)
            shutil.rmtree(hidden)
        return entry

    def check_writable(self) -> None:
        """Raises `StoreError` when a push would fail, before hours are spent on a training."""
        with self._writing():
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f".probe-{secrets.token_hex(4)}"
            probe.write_bytes(b"")
            probe.unlink()

    def _entries(self) -> Iterator[Entry]:
        for name in self.names():
            for version in self.versions(name):
                yield Entry(name, version, self.root / name / str(version))

    def _claim(self, name: str, staged: Path) -> int:
        with self._writing():
            version = max([self._read_book(name).highest, *self.versions(name)]) + 1
            while True:
                try:
                    # Renaming onto a folder that holds files fails: another process was faster.
                    staged.rename(self.root / name / str(version))
                except OSError:
                    if not (self.root / name / str(version)).exists():
                        raise
                    version += 1
                else:
                    sync_folder(self.root / name)
                    return version

    def _clean(self, name: str) -> None:
        """Removes what killed processes left aside, once it is old enough to be nobody's."""
        for folder in self._list(self.root / name):
            if folder.name.startswith((STAGING, REMOVED)):
                try:
                    age_s = time.time() - folder.stat().st_mtime
                except OSError:
                    continue
                if age_s > LEFTOVER_AGE_S:
                    shutil.rmtree(folder, ignore_errors=True)

    def _read_book(self, name: str) -> AliasBook:
        try:
            record: dict[str, Any] = load_json((self.root / name / ALIASES).read_bytes())
            return AliasBook(
                {str(alias): int(version) for alias, version in record["aliases"].items()},
                [int(version) for version in record["history"]],
                int(record["highest"]),
                {int(v): int(share) for v, share in record.get("traffic", {}).items()},
                record.get("shadow"),
            )
        except FileNotFoundError:
            return AliasBook()
        except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"{self.root / name / ALIASES} cannot be read: {error}.",
                hint="Repair or delete that file; versions are not touched by it.",
            ) from error

    def _change_book(self, name: str, change: Callable[[AliasBook], AliasBook]) -> None:
        folder = self.root / name
        with self._writing(), (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            book = change(self._read_book(name))
            highest = max([book.highest, *self.versions(name)])
            record = {
                "aliases": book.aliases,
                "history": book.history,
                "highest": highest,
                "traffic": {str(version): share for version, share in book.traffic.items()},
                "shadow": book.shadow,
            }
            aside = folder / f".{ALIASES}-{secrets.token_hex(4)}"
            with aside.open("w") as file:
                json.dump(record, file, indent=2, sort_keys=True)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(folder / ALIASES)
            sync_folder(folder)

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
