"""A store in a bucket, whose versions are cached on this machine when they are opened.

    models/NAME/VERSION/manifest.json   a bundle's manifest, and where its files are
    models/NAME/aliases.json            as in a local store
    files/NAME/TOKEN/...                the files of one push

A push uploads its files under a new token and creates the manifest last, only if there is none: a
version exists completely or not at all, and of two racing pushes one becomes the next version. The
state is replaced only if it is still the one that was read. All of `models/` is one listing, whose
tags tell which states have changed: following a store costs one request, for any number of models.
"""

from __future__ import annotations

import json
import os
import random
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from modelpad.bundle import Bundle, Manifest, open_bundle
from modelpad.bundle.manifest import NAME
from modelpad.errors import BundleInvalid, ChecksumMismatch, StoreError, VersionNotFound
from modelpad.foreign_json import load_json
from modelpad.locations import RemoteLocation, StoreLocation
from modelpad.store.aliases import ALIASES, AliasState
from modelpad.store.cache import BundleCache
from modelpad.store.notes import DATA, FAILED, read_note, remove_notes, write_note
from modelpad.store.objects import Found, Objects, Tag
from modelpad.store.staging import writing
from modelpad.store.store import Entry, Store, check_case, unknown_model
from modelpad.store.stored_model import StoredModel, is_number

MODELS, FILES, PROBES = "models", "files", "probes"
MANIFEST, TOKEN_KEY = "manifest.json", "files_at"
VERSION = re.compile(rf"{MODELS}/(?P<name>{NAME.pattern})/(?P<version>0|[1-9]\d*)/{MANIFEST}")
TOKEN = re.compile(r"[0-9a-f]{32}")
MAX_ATTEMPTS, MAX_PAUSE_S = 20, 0.2


class RemoteStore(Store):
    """All bundles below a URL. `location.folder` is the cache."""

    def __init__(self, objects: Objects, location: RemoteLocation) -> None:
        self.location = location
        self._objects = objects
        self._cache = BundleCache(location.folder)
        self._states: dict[str, tuple[Tag, AliasState]] = {}

    def listing(self) -> RemoteListing:
        """All models, by one listing; a state is read when it is asked for and has changed."""
        return RemoteListing(self, self._objects.list(MODELS))

    def read(self, name: str) -> StoredModel:
        """As `Store.read`."""
        return self._list_model(name).read(name)

    def change(self, name: str, decide: Callable[[StoredModel], AliasState]) -> StoredModel:
        """As `Store.change`: whoever writes first wins, and the other decides again."""
        path = f"{MODELS}/{name}/{ALIASES}"
        for _ in range(MAX_ATTEMPTS):
            found = self._objects.read(path)
            state = AliasState() if found is None else self._parse(name, found)
            # The versions after the state, because a removal changes the state first.
            model = self._list_model(name).combine(name, state)
            if not model.versions:
                raise unknown_model(name, self.names(), self.location)
            highest = max([model.state.highest, *model.versions])
            state = replace(decide(model), highest=highest)
            if self._objects.replace(path, state.to_json(), found) is not None:
                return replace(model, state=state)
            time.sleep(random.uniform(0, MAX_PAUSE_S))
        raise self._too_busy(name)

    def resolve(self, reference: str) -> Entry:
        """As `Store.resolve`."""
        name, version, tag = self._find(reference)
        return Entry(name, version, self._cache.folder(name, version, tag))

    def manifest(self, reference: str) -> Manifest:
        """As `Store.manifest`; of a version that is not cached, only the manifest is downloaded."""
        name, version, tag = self._find(reference)
        cached = self._cache.find(self._cache.folder(name, version, tag), verify=False)
        return self._read_manifest(name, version)[0] if cached is None else cached.manifest

    def open(self, reference: str, *, verify: bool = True) -> Bundle:
        """As `Store.open`; downloads the version if it is not cached, or damaged in the cache."""
        name, version, tag = self._find(reference)
        folder = self._cache.folder(name, version, tag)
        cached = self._cache.find(folder, verify=verify)
        if cached is not None:
            return cached
        manifest, place = self._read_manifest(name, version)
        try:
            return self._cache.fill(folder, manifest, self._download_from(place))
        except ChecksumMismatch as error:
            raise _blame_store(error, self.location, f"{name}@{version}") from error

    def push(self, bundle: Bundle, name: str | None = None, version: int | None = None) -> Entry:
        """As `Store.push`."""
        model = name or bundle.manifest.name
        open_bundle(bundle.folder)
        check_case(model, self.names())
        manifest, token = replace(bundle.manifest, name=model), secrets.token_hex(16)
        body = json.dumps(manifest.to_dict() | {TOKEN_KEY: token}).encode()
        place = f"{FILES}/{model}/{token}"
        try:
            for path in manifest.files:
                self._objects.upload(f"{place}/{path}", bundle.path(path))
        except BaseException:
            with suppress(StoreError):
                self._objects.delete(f"{place}/{path}" for path in manifest.files)
            raise
        return self._publish(model, version or 0, body)  # the files stay: it may have succeeded

    def remove(self, reference: str) -> Entry:
        """As `Store.remove`. The state comes first: from then on no version is there."""
        entry = self.resolve(reference)
        name, version = entry.name, entry.version
        manifest, place = self._read_manifest(name, version)
        whole = f"{self.location}/{MODELS}/{name}"

        def decide(model: StoredModel) -> AliasState:
            model.resolve(str(version))
            model.check_unused(version, whole)
            return replace(model.state, removed=sorted({*model.state.removed, version}))

        self.change(name, decide)
        self._objects.delete([f"{MODELS}/{name}/{version}/{MANIFEST}"])
        self._objects.delete(f"{place}/{path}" for path in manifest.files)
        self._remove_notes(name, version, FAILED, DATA)
        return entry

    def verify(self, reference: str | None = None) -> list[str]:
        """As `Store.verify`; downloads every file."""
        findings = []
        for name, version in self._select(reference):
            try:
                manifest, place = self._read_manifest(name, version)
                self._cache.check(manifest, self._download_from(place))
            except BundleInvalid as error:
                findings.append(f"{name}@{version}: {error.message}")
        return findings

    def check_writable(self) -> None:
        """As `Store.check_writable`: creates and deletes an object."""
        path = f"{PROBES}/{secrets.token_hex(16)}"
        self._objects.create(path, b"0")
        self._objects.delete([path])

    def record_failure(self, name: str, version: int, reason: str | None) -> None:
        """As `Store.record_failure`, for this machine alone: it may lack what others have."""
        if reason is None:
            self._remove_notes(name, version, FAILED)
        else:
            self._write_note(name, version, FAILED, reason.encode())

    def read_failure(self, name: str, version: int) -> str | None:
        """As `Store.read_failure`."""
        note = read_note(self._cache.root / name, version, FAILED)
        return None if note is None else note.decode()

    def record_data(self, name: str, version: int, path: Path) -> None:
        """As `Store.record_data`."""
        self._write_note(name, version, DATA, os.fsencode(path))

    def read_data(self, name: str, version: int) -> Path | None:
        """As `Store.read_data`."""
        note = read_note(self._cache.root / name, version, DATA)
        return None if note is None else Path(os.fsdecode(note))

    def read_state(self, name: str, tag: Tag) -> AliasState:
        """The state that a listing showed with `tag`; it is read only when it has changed."""
        known = self._states.get(name)
        if known is not None and known[0] == tag:
            return known[1]
        found = self._objects.read(f"{MODELS}/{name}/{ALIASES}")
        if found is None:
            return AliasState()
        state = self._parse(name, found)
        self._states[name] = found.tag, state
        return state

    def _list_model(self, name: str) -> RemoteListing:
        """One model as it is now; without versions if the name is not valid."""
        valid = NAME.fullmatch(name)
        return RemoteListing(self, self._objects.list(f"{MODELS}/{name}") if valid else {})

    def _find(self, reference: str) -> tuple[str, int, Tag]:
        """The name, the version and the tag of the manifest. Raises as `resolve`."""
        name, _, word = reference.partition("@")
        listing = self._list_model(name)
        model = listing.read(name)
        if not model.versions:
            raise unknown_model(name, self.names(), self.location)
        version = model.resolve(word)
        return name, version, listing.tag(name, version)

    def _read_manifest(self, name: str, version: int) -> tuple[Manifest, str]:
        """A version's manifest, and the folder of its files."""
        found = self._objects.read(f"{MODELS}/{name}/{version}/{MANIFEST}")
        if found is None:
            raise VersionNotFound(
                f"{name} has no version {version} any more.", hint="It has just been removed."
            )
        manifest = Manifest.from_json(found.body)
        return manifest, f"{FILES}/{name}/{read_token(found.body)}"

    def _publish(self, name: str, wanted: int, body: bytes) -> Entry:
        """Creates the manifest as the next version; as the one after it if another push did."""
        for _ in range(MAX_ATTEMPTS):
            version = max(self.read(name).next_version, wanted)
            tag = self._objects.create(f"{MODELS}/{name}/{version}/{MANIFEST}", body)
            if tag is not None:
                return Entry(name, version, self._cache.folder(name, version, tag))
        raise self._too_busy(name)

    def _select(self, reference: str | None) -> list[tuple[str, int]]:
        if reference:
            entry = self.resolve(reference)
            return [(entry.name, entry.version)]
        listing = self.listing()
        names = listing.names()
        return [(name, version) for name in names for version in listing.read(name).versions]

    def _download_from(self, place: str) -> Callable[[str, Path, int], None]:
        def download(name: str, path: Path, size: int) -> None:
            self._objects.download(f"{place}/{name}", path, size)

        return download

    def _write_note(self, name: str, version: int, kind: str, content: bytes) -> None:
        if version not in self.versions(name):
            return
        folder = self._cache.root / name
        with writing(str(folder), hint="Check its permissions."):
            folder.mkdir(parents=True, exist_ok=True)
            write_note(folder, version, kind, content)

    def _remove_notes(self, name: str, version: int, *kinds: str) -> None:
        with suppress(OSError):
            remove_notes(self._cache.root / name, version, *kinds)

    def _parse(self, name: str, found: Found) -> AliasState:
        try:
            return AliasState.from_json(found.body)
        except ValueError as error:
            raise StoreError(
                f"{self.location}/{MODELS}/{name}/{ALIASES} cannot be read: {error}.",
                hint="Repair or delete that object; this does not affect the versions.",
            ) from error

    def _too_busy(self, name: str) -> StoreError:
        return StoreError(
            f"{name} was changed by others {MAX_ATTEMPTS} times in a row.", hint="Try again."
        )


class RemoteListing:
    """The models of a bucket as one listing showed them: `tags` by path."""

    def __init__(self, store: RemoteStore, tags: Mapping[str, Tag]) -> None:
        self._store = store
        self._tags = tags
        self._versions: dict[str, list[int]] = {}
        for path in tags:
            found = VERSION.fullmatch(path)
            if found is not None and is_number(found["version"]):
                self._versions.setdefault(found["name"], []).append(int(found["version"]))

    def names(self) -> list[str]:
        """As `Listing.names`."""
        return sorted(self._versions)

    def read(self, name: str) -> StoredModel:
        """As `Listing.read`."""
        tag = self._tags.get(f"{MODELS}/{name}/{ALIASES}")
        state = AliasState() if tag is None else self._store.read_state(name, tag)
        return self.combine(name, state)

    def versions(self, name: str) -> Sequence[int]:
        """As `Listing.versions`."""
        return self.read(name).versions

    def combine(self, name: str, state: AliasState) -> StoredModel:
        """A model in a state that was read before; without what counts as removed in it."""
        listed = set(self._versions.get(name, ()))
        return StoredModel(name, tuple(sorted(listed - {*state.removed})), state)

    def tag(self, name: str, version: int) -> Tag:
        """The tag of a version's manifest."""
        return self._tags[f"{MODELS}/{name}/{version}/{MANIFEST}"]


def read_token(body: bytes) -> str:
    """The token of the push whose files a manifest describes. Raises `BundleInvalid`."""
    record = load_json(body)
    token = record.get(TOKEN_KEY) if isinstance(record, dict) else None
    if not isinstance(token, str) or not TOKEN.fullmatch(token):
        raise BundleInvalid(
            "The manifest does not say where its files are.", hint="Push the version again."
        )
    return token


def _blame_store(
    error: ChecksumMismatch, location: StoreLocation, reference: str
) -> ChecksumMismatch:
    return ChecksumMismatch(
        f"{reference} is damaged in {location}: {error.message}",
        hint="Push it again as a new version, and remove this one.",
        **error.details,
    )
