"""A store in a bucket, whose versions are cached on this machine when they are opened.

    models/NAME/VERSION/manifest.json   a bundle's manifest, and where its files are
    models/NAME/VERSION/model.sig       its digital signature, if it is signed
    models/NAME/aliases.json            as in a local store
    files/NAME/TOKEN/...                the files of one push

A push uploads its files under a new token and creates the manifest last, only if there is none: a
version exists completely or not at all, and of two racing pushes one becomes the next version. The
state is replaced only if it is still the one that was read. All of `models/` is one listing, whose
tags tell which states have changed: following a store costs one request, for any number of models.
"""

from __future__ import annotations

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
from modelpad.bundle.reader import MANIFEST, SIGNATURE_FILE
from modelpad.bundle.writer import copy_documents
from modelpad.errors import BundleInvalid, ChecksumMismatch, StoreError, VersionNotFound
from modelpad.foreign_json import load_json
from modelpad.locations import RemoteLocation
from modelpad.store.aliases import ALIASES, AliasState
from modelpad.store.cache import BundleCache
from modelpad.store.memory import Memory, RememberedObjects
from modelpad.store.notes import DATA, FAILED, read_note, remove_notes, write_note
from modelpad.store.objects import Found, Objects, Tag
from modelpad.store.staging import writing
from modelpad.store.store import Check, Entry, Store, check_case, unknown_model
from modelpad.store.stored_model import StoredModel, is_number

MODELS, FILES, PROBES = "models", "files", "probes"
TOKEN_KEY = "files_at"
JOINED = re.compile(rb'\{"files_at": "[0-9a-f]{32}", ')  # what a token adds to a manifest
VERSION = re.compile(rf"{MODELS}/(?P<name>{NAME.pattern})/(?P<version>0|[1-9]\d*)/{MANIFEST}")
TOKEN = re.compile(r"[0-9a-f]{32}")
MAX_ATTEMPTS, MAX_PAUSE_S = 20, 0.2


class RemoteStore(Store):
    """All bundles below a URL. `location.folder` is the cache."""

    def __init__(self, objects: Objects | RememberedObjects, location: RemoteLocation) -> None:
        self.location: RemoteLocation = location
        self._objects = objects
        self._cache = BundleCache(location.folder)
        self._memory: Memory | None = None  # read with the first listing
        self._states: dict[str, tuple[Tag, AliasState]] = {}

    def listing(self) -> RemoteListing:
        """All models, by one listing; a state is read when it is asked for and has changed."""
        tags = self._objects.list(MODELS)
        self._remember(tags)
        return RemoteListing(self, tags)

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
        return self._find(reference)[0]

    def manifest(self, reference: str) -> Manifest:
        """As `Store.manifest`; of a version that is not cached, only the manifest is downloaded."""
        entry, _ = self._find(reference)
        cached = self._cache.find(entry.folder, verify=False)
        if cached is not None:
            return cached.manifest
        return self._read_manifest(entry.name, entry.version)[0]

    def open(self, reference: str, *, verify: bool = True) -> Bundle:
        """As `Store.open`; downloads the version if it is not cached, or damaged in the cache."""
        entry, is_signed = self._find(reference)
        folder = entry.folder
        bundle = self._cache.use(
            folder, lambda: self._cache.find(folder, verify=verify) or self._fill(entry)
        )
        if not self.location.remembered:
            signature = self.read_signature_file(entry.name, entry.version) if is_signed else None
            self._cache.write_signature_file(entry.folder, signature)
        return bundle

    def push(self, bundle: Bundle, name: str | None = None, version: int | None = None) -> Entry:
        """As `Store.push`."""
        model = name or bundle.manifest.name
        open_bundle(bundle.folder)
        check_case(model, self.names())
        manifest, token = replace(bundle.manifest, name=model), secrets.token_hex(16)
        copied = copy_documents(bundle, manifest)
        if not takes_token(copied.get(MANIFEST, b""), token):
            copied = {}  # it is written anew: a signature would be that of other bytes
        body = join_token(copied.get(MANIFEST, manifest.to_json()), token)
        place = f"{FILES}/{model}/{token}"
        try:
            for path in manifest.files:
                self._objects.upload(f"{place}/{path}", bundle.path(path))
        except BaseException:
            with suppress(StoreError):
                self._objects.delete(f"{place}/{path}" for path in manifest.files)
            raise
        entry = self._publish(model, version or 0, body)  # the files stay: it may have succeeded
        if SIGNATURE_FILE in copied:
            self.write_signature_file(model, entry.version, copied[SIGNATURE_FILE])
        return entry

    def read_signature_file(self, name: str, version: int) -> bytes | None:
        """As `Store.read_signature_file`."""
        found = self._objects.read(name_object(name, version, SIGNATURE_FILE))
        return None if found is None else found.body

    def write_signature_file(self, name: str, version: int, body: bytes) -> None:
        """As `Store.write_signature_file`."""
        self.resolve(f"{name}@{version}")
        self._objects.write(name_object(name, version, SIGNATURE_FILE), body)

    def remove(self, reference: str) -> Entry:
        """As `Store.remove`. The state comes first: from then on no version is there."""
        entry = self.resolve(reference)
        name, version = entry.name, entry.version
        try:
            manifest, _, place = self._read_manifest(name, version)
            files = [f"{place}/{path}" for path in manifest.files]
        except BundleInvalid:  # nothing tells where its files are: they stay
            files = []
        whole = f"{self.location}/{MODELS}/{name}"

        def decide(model: StoredModel) -> AliasState:
            model.resolve(str(version))
            model.check_unused(version, whole)
            return replace(model.state, removed=sorted({*model.state.removed, version}))

        self.change(name, decide)
        own = (MANIFEST, SIGNATURE_FILE)
        self._objects.delete(name_object(name, version, each) for each in own)
        self._objects.delete(files)
        self._remove_notes(name, version, FAILED, DATA)
        return entry

    def verify(self, reference: str | None = None, check: Check | None = None) -> list[str]:
        """As `Store.verify`; downloads every file."""
        findings = []
        for name, version in self._select(reference):
            try:
                _, body, place = self._read_manifest(name, version)
                with self._cache.download(body, self._download_from(place)) as bundle:
                    if check is not None:
                        signature = self.read_signature_file(name, version)
                        self._cache.write_signature_file(bundle.folder, signature)
                        check(bundle, name, version)
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
        if self._memory is not None:
            self._remember(self._memory.tags)
        return state

    def _remember(self, tags: Mapping[str, Tag]) -> None:
        """Notes a whole listing, with the states that have been read."""
        if self.location.remembered:
            return
        if self._memory is None:
            self._memory = Memory(self._cache.root)
        states = self._states.items()
        self._memory.note(
            tags, {f"{MODELS}/{n}/{ALIASES}": (tag, state.to_json()) for n, (tag, state) in states}
        )

    def list_model(self, name: str) -> Mapping[str, Tag]:
        """The objects of one model as it is now; none if the name is not valid."""
        return self._objects.list(f"{MODELS}/{name}") if NAME.fullmatch(name) else {}

    def _list_model(self, name: str) -> RemoteListing:
        return RemoteListing(self, self.list_model(name))

    def _find(self, reference: str) -> tuple[Entry, bool]:
        """The version, and whether it is signed. Raises as `resolve`."""
        name, _, word = reference.partition("@")
        listing = self._list_model(name)
        model = listing.read(name)
        if not model.versions:
            raise unknown_model(name, self.names(), self.location)
        version = model.resolve(word)
        folder = self._cache.folder(name, version, listing.tag(name, version))
        return Entry(name, version, folder), listing.is_signed(name, version)

    def _fill(self, entry: Entry) -> Bundle:
        _, body, place = self._read_manifest(entry.name, entry.version)
        try:
            bundle = self._cache.fill(entry.folder, body, self._download_from(place))
        except ChecksumMismatch as error:
            raise _blame_store(error, self.location, f"{entry.name}@{entry.version}") from error
        self._cache.remove_unused(entry.folder)
        return bundle

    def _read_manifest(self, name: str, version: int) -> tuple[Manifest, bytes, str]:
        """A version's manifest, also as it was pushed, and the folder of its files."""
        found = self._objects.read(name_object(name, version, MANIFEST))
        if found is None:
            raise VersionNotFound(
                f"{name} has no version {version} any more.", hint="It has just been removed."
            )
        body = split_token(found.body)
        return Manifest.from_json(body), body, f"{FILES}/{name}/{read_token(found.body)}"

    def _publish(self, name: str, wanted: int, body: bytes) -> Entry:
        """Creates the manifest as the next version; as the one after it if another push did."""
        for _ in range(MAX_ATTEMPTS):
            version = max(self.read(name).next_version, wanted)
            tag = self._objects.create(name_object(name, version, MANIFEST), body)
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
        self._set_tags(tags)

    def names(self) -> list[str]:
        """As `Listing.names`."""
        return sorted(self._versions)

    def read(self, name: str) -> StoredModel:
        """As `Listing.read`."""
        tag = self._tags.get(f"{MODELS}/{name}/{ALIASES}")
        state = AliasState() if tag is None else self._store.read_state(name, tag)
        model = self.combine(name, state)
        if not model.has_named():  # pushed and named by others since the listing
            others = {path: tag for path, tag in self._tags.items() if not is_of(path, name)}
            self._set_tags({**others, **self._store.list_model(name)})
            model = self.combine(name, state)
        return model

    def versions(self, name: str) -> Sequence[int]:
        """As `Listing.versions`."""
        return self.read(name).versions

    def combine(self, name: str, state: AliasState) -> StoredModel:
        """A model in a state that was read before; without what counts as removed in it."""
        listed = set(self._versions.get(name, ()))
        return StoredModel(name, tuple(sorted(listed - {*state.removed})), state)

    def tag(self, name: str, version: int) -> Tag:
        """The tag of a version's manifest."""
        return self._tags[name_object(name, version, MANIFEST)]

    def is_signed(self, name: str, version: int) -> bool:
        """Whether a version has a signature, of whatever worth."""
        return name_object(name, version, SIGNATURE_FILE) in self._tags

    def _set_tags(self, tags: Mapping[str, Tag]) -> None:
        self._tags = tags
        self._versions: dict[str, list[int]] = {}
        for path in tags:
            found = VERSION.fullmatch(path)
            if found is not None and is_number(found["version"]):
                self._versions.setdefault(found["name"], []).append(int(found["version"]))


def is_of(path: str, name: str) -> bool:
    """Whether an object belongs to a model."""
    return path.startswith(f"{MODELS}/{name}/")


def name_object(name: str, version: int, file: str) -> str:
    """The path of a version's manifest or signature."""
    return f"{MODELS}/{name}/{version}/{file}"


def join_token(manifest: bytes, token: str) -> bytes:
    """The object of a manifest: its first entry is the token of the push."""
    return b'{"%s": "%s", ' % (TOKEN_KEY.encode(), token.encode()) + manifest.removeprefix(b"{")


def takes_token(manifest: bytes, token: str) -> bool:
    """Whether a token can be joined to a manifest as its author has written it.

    JSON may also begin with white space, or be UTF-16; and it may have a token already.
    """
    try:
        return manifest.startswith(b"{") and read_token(join_token(manifest, token)) == token
    except BundleInvalid:
        return False


def split_token(body: bytes) -> bytes:
    """The manifest in an object, byte for byte as it was pushed.

    Earlier objects have the token elsewhere; their manifest is written anew.
    """
    joined = JOINED.match(body)
    return Manifest.from_json(body).to_json() if joined is None else b"{" + body[joined.end() :]


def read_token(body: bytes) -> str:
    """The token of the push whose files a manifest describes. Raises `BundleInvalid`."""
    try:
        record = load_json(body)
    except ValueError:
        record = None
    token = record.get(TOKEN_KEY) if isinstance(record, dict) else None
    if not isinstance(token, str) or not TOKEN.fullmatch(token):
        raise BundleInvalid(
            "The manifest does not say where its files are.", hint="Push the version again."
        )
    return token


def _blame_store(
    error: ChecksumMismatch, location: RemoteLocation, reference: str
) -> ChecksumMismatch:
    return ChecksumMismatch(
        f"{reference} is damaged in {location}: {error.message}",
        hint="Push it again as a new version, and remove this one.",
        **error.details,
    )
