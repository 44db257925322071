"""A store in a local folder: `NAME/VERSION/` bundles, and `NAME/aliases.json`.

Reads are pure and need no lock: versions are renamed into place and alias files are replaced
atomically. Every change to a model (push, remove, aliases, traffic, shadow) holds that model's lock
from its checks to its last rename, so conflicting changes by two processes cannot both succeed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

from modelpad.bundle import Bundle, Manifest, open_bundle
from modelpad.bundle.locks import hold_lock
from modelpad.bundle.manifest import NAME
from modelpad.bundle.reader import SIGNATURE_FILE, read_signature_file
from modelpad.bundle.writer import stage_bundle, sync_folder
from modelpad.errors import BundleInvalid, StoreError
from modelpad.store.aliases import ALIASES, AliasState
from modelpad.store.notes import DATA, FAILED, read_note, remove_notes, write_note
from modelpad.store.staging import remove_leftovers, replace_file, staged_name, writing
from modelpad.store.store import Check, Entry, Listing, Store, check_case, require_model
from modelpad.store.stored_model import StoredModel, is_number

LOCK = ".lock"


class LocalStore(Store):
    """All bundles under `root`. The folder is created by the first push."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.location = root

    def listing(self) -> Listing:
        """The store itself: reading a folder is cheap, and always up to date."""
        return self

    def names(self) -> list[str]:
        """The models with at least one version, sorted."""
        folders = self._list(self.root)
        return sorted(f.name for f in folders if NAME.fullmatch(f.name) and self.versions(f.name))

    def versions(self, name: str) -> list[int]:
        """The versions of a model, ascending; empty if there is no such model."""
        numbers = [f.name for f in self._list(self.root / name) if is_number(f.name)]
        return sorted(int(number) for number in numbers if number == str(int(number)))

    def read(self, name: str) -> StoredModel:
        """As `Store.read`."""
        state = self._read_state(name)  # first: what it names had been pushed before
        return StoredModel(name, tuple(self.versions(name)), state)

    def change(self, name: str, decide: Callable[[StoredModel], AliasState]) -> StoredModel:
        """As `Store.change`, under the model's lock."""
        require_model(self, name)
        with self._changing(name):
            model = self.read(name)
            state = decide(model)
            self._write_state(name, state)
        return replace(model, state=state)

    def resolve(self, reference: str) -> Entry:
        """As `Store.resolve`."""
        name, _, word = reference.partition("@")
        return self._entry(name, require_model(self, name).resolve(word))

    def manifest(self, reference: str) -> Manifest:
        """As `Store.manifest`."""
        return self.open(reference, verify=False).manifest

    def open(self, reference: str, *, verify: bool = True) -> Bundle:
        """As `Store.open`."""
        return open_bundle(self.resolve(reference).folder, verify=verify)

    def push(self, bundle: Bundle, name: str | None = None, version: int | None = None) -> Entry:
        """As `Store.push`."""
        model = name or bundle.manifest.name
        manifest = replace(bundle.manifest, name=model)
        open_bundle(bundle.folder)
        files: dict[str, bytes | Path] = {path: bundle.path(path) for path in manifest.files}
        self._check_folder(model)
        check_case(model, (folder.name for folder in self._list(self.root)))
        staging = stage_bundle(self.root / model, manifest, files, bundle)
        with staging as staged, self._changing(model):
            number = self._next_version(model, version or 0)
            staged.rename(self.root / model / str(number))
            sync_folder(self.root / model)
        return self._entry(model, number)

    def read_signature_file(self, name: str, version: int) -> bytes | None:
        """As `Store.read_signature_file`."""
        return read_signature_file(self._entry(name, version).folder)

    def write_signature_file(self, name: str, version: int, body: bytes) -> None:
        """As `Store.write_signature_file`. Raises `StoreError` for a link to another folder."""
        with self._changing(name) as folder:
            entry = self.resolve(f"{name}@{version}")
            if entry.folder.is_symlink():
                raise StoreError(
                    f"{entry.folder} is a symbolic link to another folder.",
                    hint=f"Sign the bundle there: {entry.folder.resolve()}",
                )
            replace_file(folder, f"{version}/{SIGNATURE_FILE}", body)

    def record_failure(self, name: str, version: int, reason: str | None) -> None:
        """As `Store.record_failure`, in a file beside the version."""
        if reason is not None and self.versions(name):
            self._write_note(name, version, FAILED, reason.encode())
        elif reason is None and self.read_failure(name, version) is not None:
            with self._changing(name) as folder:
                remove_notes(folder, version, FAILED)

    def read_failure(self, name: str, version: int) -> str | None:
        """As `Store.read_failure`."""
        note = read_note(self.root / name, version, FAILED)
        return None if note is None else note.decode()

    def record_data(self, name: str, version: int, path: Path) -> None:
        """As `Store.record_data`, in a file beside the version."""
        self._write_note(name, version, DATA, os.fsencode(path))

    def read_data(self, name: str, version: int) -> Path | None:
        """As `Store.read_data`."""
        note = read_note(self.root / name, version, DATA)
        return None if note is None else Path(os.fsdecode(note))

    def verify(self, reference: str | None = None, check: Check | None = None) -> list[str]:
        """As `Store.verify`."""
        entries = [self.resolve(reference)] if reference else list(self._entries())
        findings = []
        for entry in entries:
            try:
                bundle = open_bundle(entry.folder)
                if check is not None:
                    check(bundle, entry.name, entry.version)
            except BundleInvalid as error:
                findings.append(f"{entry.name}@{entry.version}: {error.message}")
        return findings

    def remove(self, reference: str) -> Entry:
        """As `Store.remove`; if the version is a symbolic link, only the link is removed."""
        name = self.resolve(reference).name
        with self._changing(name) as folder:
            entry = self.resolve(reference)
            model = self.read(name)
            model.check_unused(entry.version, str(folder))
            self._write_state(name, model.state)  # remembers the highest version
            remove_notes(folder, entry.version, FAILED, DATA)
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
        """As `Store.check_writable`."""
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

    def _write_note(self, name: str, version: int, kind: str, content: bytes) -> None:
        """Writes a note, unless the version has been removed."""
        with self._changing(name) as folder:
            if version in self.versions(name):
                write_note(folder, version, kind, content)

    def _next_version(self, name: str, wanted: int) -> int:
        """`wanted`, else the next free number if that is higher; a broken link takes one, too."""
        version = max(self.read(name).next_version, wanted)
        while os.path.lexists(self.root / name / str(version)):
            version += 1
        return version

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

    def _write_state(self, name: str, state: AliasState) -> None:
        highest = max([state.highest, *self.versions(name)])
        replace_file(self.root / name, ALIASES, replace(state, highest=highest).to_json())

    def _writing(self) -> AbstractContextManager[None]:
        return writing(
            f"The store {self.root}",
            hint="Check permissions and free space, or choose another folder: --store DIR.",
        )

    def _list(self, folder: Path) -> list[Path]:
        try:
            return [path for path in folder.iterdir() if path.is_dir()]
        except FileNotFoundError:
            return []
        except NotADirectoryError:
            if folder != self.root:
                return []
            raise StoreError(
                f"The store {self.root} is not a folder.", hint="Choose another: --store DIR."
            ) from None
        except OSError as error:
            raise StoreError(
                f"{folder} cannot be read: {error.strerror}.", hint="Check its permissions."
            ) from error
