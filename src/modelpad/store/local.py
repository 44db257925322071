"""A store in a local folder: `NAME/VERSION/` bundles, and `NAME/aliases.json`.

Reads are pure and need no lock: versions are renamed into place and alias files are replaced
atomically. Every change to a model (push, remove, aliases, traffic, shadow) holds that model's lock
from its checks to its last rename, so conflicting changes by two processes cannot both succeed.
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
from modelpad.store.staging import remove_leftovers, replace_file, staged_name

LOCK = ".lock"
FAILED, DATA = "failed", "data"  # notes about a version, in files beside it
MAX_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Entry:
    """One version of one model in the store."""

    name: str
    version: int
    folder: Path


class LocalStore:
    """All bundles under `root`. The folder is created by the first push."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """The models with at least one version, sorted."""
        folders = self._list(self.root)
        return sorted(f.name for f in folders if NAME.fullmatch(f.name) and self.versions(f.name))

    def versions(self, name: str) -> list[int]:
        """The versions of a model, ascending; empty if there is no such model."""
        numbers = [f.name for f in self._list(self.root / name) if _is_number(f.name)]
        return sorted(int(number) for number in numbers if number == str(int(number)))

    def aliases(self, name: str) -> dict[str, int]:
        """Each alias's version, including `latest`, which is always the newest."""
        versions = self.versions(name)
        aliases = {k: v for k, v in self._read_state(name).aliases.items() if v in versions}
        return aliases | ({LATEST: versions[-1]} if versions else {})

    def resolve(self, reference: str) -> Entry:
        """The version that `NAME`, `NAME@3` or `NAME@production` refers to.

        A name alone refers to its `production` alias if set, else to the newest version.

        Raises:
            ModelNotFound, VersionNotFound: there is none; the error lists what exists.
        """
        name, at, version_or_alias = reference.partition("@")
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
        elif _is_number(version_or_alias) and int(version_or_alias) in versions:
            version = int(version_or_alias)
        elif version_or_alias in aliases:
            version = aliases[version_or_alias]
        else:
            known = [str(number) for number in versions] + sorted(aliases)
            raise VersionNotFound(
                f"{name} has no version or alias {version_or_alias!r}.",
                hint=f"It has: {', '.join(known)}.",
                known=known,
            )
        return self._entry(name, version)

    def open(self, reference: str, *, verify: bool = True) -> Bundle:
        """The bundle that `reference` refers to. Raises like `resolve` and `open_bundle`."""
        return open_bundle(self.resolve(reference).folder, verify=verify)

    def push(self, bundle: Bundle, name: str | None = None, version: int | None = None) -> Entry:
        """Copies a bundle into the store as the next version of `name`, by default its own.

        It becomes `version`, if that is higher than any version before.

        Raises:
            StoreError: the store cannot be written, or the name differs from another model's in
                case alone; nothing is left behind.
            ChecksumMismatch: the bundle has changed since it was opened.
        """
        model = name or bundle.manifest.name
        manifest = replace(bundle.manifest, name=model)
        open_bundle(bundle.folder)
        files: dict[str, bytes | Path] = {path: bundle.path(path) for path in manifest.files}
        self._check_folder(model)
        self._check_case(model)
        with stage_bundle(self.root / model, manifest, files) as staged, self._changing(model):
            number = max(self._next_version(model), version or 0)
            staged.rename(self.root / model / str(number))
            sync_folder(self.root / model)
        return self._entry(model, number)

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Points `alias` at `version`.

        Raises:
            UsageError: `alias` is a number, `latest`, or not a valid name.
            ModelNotFound, VersionNotFound: there is no such version.
        """
        if alias == LATEST or alias.isdecimal() or not NAME.fullmatch(alias):
            raise UsageError(
                f"{alias!r} cannot be an alias.",
                hint="Use a word such as production or staging. latest is always the newest.",
            )

        def change(state: AliasState) -> AliasState:
            self.resolve(f"{name}@{version}")
            return state.point(alias, version)

        self._change_state(name, change)

    def rollback(self, name: str) -> Entry:
        """Points `production` at the version before the one that `NAME` refers to now.

        That is the previous `production` version, else the next lower version.

        Raises:
            VersionNotFound: there is no earlier version.
        """

        def change(state: AliasState) -> AliasState:
            now, versions = self.resolve(name).version, self.versions(name)
            history = [number for number in state.history if number in versions and number != now]
            lower = [number for number in versions if number < now]
            if not history and not lower:
                raise VersionNotFound(
                    f"{name} has no version before {now}.", hint="There is nothing to roll back to."
                )
            target = history.pop() if history else lower[-1]
            aliases = state.aliases | {PRODUCTION: target}
            return replace(state, aliases=aliases, history=history, traffic={}, shadow=None)

        return self._entry(name, self._change_state(name, change).aliases[PRODUCTION])

    def promote(self, name: str, version: int) -> Entry:
        """Points `production` at `version`, for all requests. Raises like `set_alias`.

        This ends a traffic split and removes the shadow.
        """

        def change(state: AliasState) -> AliasState:
            self.resolve(f"{name}@{version}")
            return replace(state.point(PRODUCTION, version), traffic={}, shadow=None)

        self._change_state(name, change)
        return self._entry(name, version)

    def set_traffic(self, name: str, shares: Mapping[int, int]) -> None:
        """Splits requests for `name` among versions, in percent. No shares end the split.

        Raises:
            UsageError: the shares do not add up to 100.
            ModelNotFound, VersionNotFound: there is no such version.
        """
        if shares and (sum(shares.values()) != 100 or min(shares.values()) < 0):
            raise UsageError(
                f"The shares add up to {sum(shares.values())}, not to 100.",
                hint=f"For example: modelpad models traffic {name} 1=90 2=10",
            )
        traffic = {version: share for version, share in shares.items() if share}

        def change(state: AliasState) -> AliasState:
            for version in shares:
                self.resolve(f"{name}@{version}")
            return replace(state, traffic=traffic)

        self._change_state(name, change)

    def set_shadow(self, name: str, version: int | None) -> None:
        """Sends copies of requests to `version`; None stops it. Raises like `resolve`."""

        def change(state: AliasState) -> AliasState:
            if version is not None:
                self.resolve(f"{name}@{version}")
            return replace(state, shadow=version)

        self._change_state(name, change)

    def desired_state(self, name: str, keep: int = 1, alias: str = "") -> DesiredState:
        """The versions that a server should load, and how it routes requests.

        These are the version that the name refers to, those in the traffic split, the shadow and,
        if `keep` is above 1, the newest `keep` versions. With an `alias`, its version takes the
        place of the name's; a traffic split and a shadow belong to the name, and are left out.

        Raises `ModelNotFound` if there is no such model, and `VersionNotFound` without the alias.
        """
        if alias:
            return self._state_of_alias(name, keep, alias)
        default = self.resolve(name).version
        versions, state = self.versions(name), self._read_state(name)
        traffic = {v: share for v, share in state.traffic.items() if v in versions}
        shadow = state.shadow if state.shadow in versions else None
        loaded = {default, *traffic, *(versions[-keep:] if keep > 1 else ())}
        loaded |= {shadow} if shadow is not None else set()
        aliases = {a: v for a, v in self.aliases(name).items() if v in loaded}
        split = traffic if sum(traffic.values()) == 100 else {}
        return DesiredState(default, frozenset(loaded), aliases, split, shadow)

    def _state_of_alias(self, name: str, keep: int, alias: str) -> DesiredState:
        default = self.resolve(f"{name}@{alias}").version
        newest = self.versions(name)[-keep:] if keep > 1 else ()
        loaded = frozenset({default, *newest})
        return DesiredState(
            default, loaded, {a: v for a, v in self.aliases(name).items() if v in loaded}
        )

    def record_failure(self, name: str, version: int, reason: str | None) -> None:
        """Records why a server could not load a version; None clears the record.

        Nothing is recorded for a version that has been removed.
        """
        path = self._note_path(name, version, FAILED)
        if not (path.exists() if reason is None else self.versions(name)):
            return
        if reason is not None:
            self._write_note(name, version, FAILED, reason.encode())
            return
        with self._changing(name):
            path.unlink(missing_ok=True)

    def read_failure(self, name: str, version: int) -> str | None:
        """Why a server last failed to load a version; None if it did not fail."""
        note = self._read_note(name, version, FAILED)
        return None if note is None else note.decode()

    def record_data(self, name: str, version: int, path: Path) -> None:
        """Records where on this machine the data of a version is; its bundle does not say.

        Nothing is recorded for a version that has been removed.
        """
        self._write_note(name, version, DATA, os.fsencode(path))

    def read_data(self, name: str, version: int) -> Path | None:
        """Where the data of a version was when it was trained here; None if that is unknown."""
        note = self._read_note(name, version, DATA)
        return None if note is None else Path(os.fsdecode(note))

    def verify(self, reference: str | None = None) -> list[str]:
        """One line for each damaged version; checks all versions without a reference."""
        entries = [self.resolve(reference)] if reference else list(self._entries())
        findings = []
        for entry in entries:
            try:
                open_bundle(entry.folder)
            except BundleInvalid as error:
                findings.append(f"{entry.name}@{entry.version}: {error.message}")
        return findings

    def remove(self, reference: str) -> Entry:
        """Removes one version. Its number is never reused.

        If the version is a symbolic link, only the link is removed.

        Raises:
            StoreError: the version has an alias, traffic or is the shadow, or cannot be removed.
        """
        name = self.resolve(reference).name
        with self._changing(name) as folder:
            entry = self.resolve(reference)
            self._check_unused(entry)
            self._write_state(name, self._read_state(name))  # remembers the highest version
            for kind in (FAILED, DATA):
                self._note_path(name, entry.version, kind).unlink(missing_ok=True)
            if entry.folder.is_symlink():
                entry.folder.unlink()
                sync_folder(folder)
                return entry
            hidden = folder / staged_name(f"removed-{entry.version}")
            entry.folder.rename(hidden)
            sync_folder(folder)
            try:
                shutil.rmtree(hidden)
            except OSError as error:
                raise StoreError(
                    f"{name}@{entry.version} was removed, but its files remain in {hidden}:"
                    f" {error.strerror}.",
                    hint="Delete that folder.",
                ) from error
        return entry

    def check_writable(self) -> None:
        """Raises `StoreError` if a push would fail. Call it before hours of training."""
        from tempfile import TemporaryFile  # nameless: a killed process leaves nothing behind

        with self._writing():
            self.root.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=self.root) as probe:
                probe.write(b"0")

    def _entries(self) -> Iterator[Entry]:
        for name in self.names():
            for version in self.versions(name):
                yield self._entry(name, version)

    def _entry(self, name: str, version: int) -> Entry:
        return Entry(name, version, self.root / name / str(version))

    def _note_path(self, name: str, version: int, kind: str) -> Path:
        return self.root / name / f".{kind}-{version}"

    def _write_note(self, name: str, version: int, kind: str, content: bytes) -> None:
        """Writes a note, unless the version has been removed."""
        with self._changing(name) as folder:
            if version in self.versions(name):
                replace_file(folder, self._note_path(name, version, kind).name, content)

    def _read_note(self, name: str, version: int, kind: str) -> bytes | None:
        try:
            return self._note_path(name, version, kind).read_bytes()
        except OSError:
            return None

    def _next_version(self, name: str) -> int:
        version = max([self._read_state(name).highest, *self.versions(name)]) + 1
        while os.path.lexists(self.root / name / str(version)):
            version += 1
        return version

    def _check_unused(self, entry: Entry) -> None:
        """Raises `StoreError` if requests may still be routed to a version."""
        state, version = self._read_state(entry.name), f"{entry.name}@{entry.version}"
        if aliases := state.aliases_of(entry.version):
            hint = f"First: modelpad models alias {entry.name} {aliases[0]} ANOTHER_VERSION"
            if len(self.versions(entry.name)) == 1:
                hint = f"It is the only version. To remove the model, delete {entry.folder.parent}"
            raise StoreError(f"{version} has the alias {', '.join(aliases)}.", hint=hint)
        if entry.version in state.traffic:
            raise StoreError(
                f"{version} receives {state.traffic[entry.version]} % of the traffic.",
                hint=f"First: modelpad models traffic {entry.name}",
            )
        if entry.version == state.shadow:
            raise StoreError(
                f"{version} is the shadow.", hint=f"First: modelpad models shadow {entry.name} 0"
            )

    def _check_case(self, name: str) -> None:
        """Raises `StoreError` for a new model whose name differs from another's in case alone.

        File systems that ignore case would keep both in one folder.
        """
        folders = {folder.name for folder in self._list(self.root)}
        same = sorted(each for each in folders - {name} if each.lower() == name.lower())
        if same:
            raise StoreError(
                f"The store has a model {same[0]!r}, whose name differs from {name!r} in case"
                " alone.",
                hint=f"Use that name, or another one: --name {name}-2",
            )

    def _check_folder(self, name: str) -> None:
        """Raises `StoreError` if the model's folder is a link, so it is part of another store."""
        folder = self.root / name
        if folder.is_symlink():
            raise StoreError(
                f"{folder} is a symbolic link to a model in another store.",
                hint=f"Change the model there: --store {folder.resolve().parent}",
            )

    @contextmanager
    def _changing(self, name: str) -> Iterator[Path]:
        """Holds a model's lock, removes leftovers of killed processes, and yields the folder."""
        self._check_folder(name)
        folder = self.root / name
        with self._writing(), hold_lock(folder / LOCK):
            remove_leftovers(folder)
            yield folder

    def _read_state(self, name: str) -> AliasState:
        path = self.root / name / ALIASES
        try:
            return AliasState.from_json(path.read_bytes())
        except FileNotFoundError:
            return AliasState()
        except (OSError, ValueError) as error:
            raise StoreError(
                f"{path} cannot be read: {error}.",
                hint="Repair or delete that file; this does not affect the versions.",
            ) from error

    def _change_state(self, name: str, change: Callable[[AliasState], AliasState]) -> AliasState:
        """Applies `change` under the lock and returns the new state. `change` may raise."""
        self.resolve(name)
        with self._changing(name):
            state = change(self._read_state(name))
            self._write_state(name, state)
        return state

    def _write_state(self, name: str, state: AliasState) -> None:
        highest = max([state.highest, *self.versions(name)])
        replace_file(self.root / name, ALIASES, replace(state, highest=highest).to_json())

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"The store {self.root} cannot be written: {error.strerror}.",
                hint="Check permissions and free space, or choose another folder: --store DIR.",
            ) from error

    def _list(self, folder: Path) -> list[Path]:
        try:
            return [path for path in folder.iterdir() if path.is_dir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise StoreError(
                f"{folder} cannot be read: {error.strerror}.", hint="Check its permissions."
            ) from error


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS
