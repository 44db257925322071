"""Pictures that are collected one by one, in classes, to train on: a folder for each collection.

    ID/owner                      who may use it
    ID/pictures/train/CLASS/HASH.png

`ID/pictures` is a data set. Files are written aside and renamed into place, so that a collection is
whole at any moment. This module does not look into pictures.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modelpad.bundle.locks import hold_lock
from modelpad.errors import CollectionFull, InvalidInput, NotFound

MB = 1 << 20
ID = re.compile(r"[0-9a-f]{24}")
ITEM = re.compile(r"[0-9a-f]{16}\.(png|jpg|webp)")
ID_BYTES = 12
ITEM_CHARS = 16
SUFFIXES = {b"\x89PNG": ".png", b"\xff\xd8": ".jpg", b"RIFF": ".webp"}
# Unsafe in a file name of some system, or in a URL's path.
UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|%]')
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
MAX_CLASS_CHARS = 40
MAX_CLASSES = 50
MIN_CLASSES, MIN_PICTURES = 2, 5  # that can be trained on
OWNER, PICTURES = "owner", Path("pictures") / "train"


@dataclass(frozen=True, slots=True)
class CollectionLimits:
    """How much is kept: collections, and pictures and bytes of each. Unused ones expire."""

    collections: int = 50
    pictures: int = 2000
    bytes: int = 200 * MB
    keep_s: float = 30 * 24 * 3600.0


class Collection:
    """The pictures of one collection, whose folder exists."""

    def __init__(self, folder: Path, limits: CollectionLimits) -> None:
        self.folder, self.limits = folder, limits

    @property
    def id(self) -> str:
        """Its name in URLs."""
        return self.folder.name

    @property
    def data(self) -> Path:
        """The data set."""
        return self.folder / PICTURES.parent

    def classes(self) -> dict[str, list[str]]:
        """The names of the pictures of each class, the oldest first. Classes are sorted."""
        return {
            folder.name: [file.name for file in sorted(_list(folder), key=_age)]
            for folder in sorted(_list(self._root))
            if folder.is_dir()
        }

    def add(self, name: str, body: bytes) -> str:
        """Adds a picture's file to the class `name`; gives its name.

        Raises:
            InvalidInput: the class cannot have that name, the file is no PNG, JPEG or WebP, or
                another class has the same picture.
            CollectionFull: there is no room.
        """
        name = check_class(name)
        item = name_item(body)
        with self._changing():
            known = self.classes()
            before = next((each for each, items in known.items() if item in items), None)
            if before == name:
                return item
            if before is not None:
                raise InvalidInput(
                    f"The same picture is in the class {before!r} already.",
                    hint="Each picture shows one class. Remove it there first.",
                    field="class",
                    expected="another picture",
                    got=name,
                )
            self._check_room(known, name, len(body))
            folder = self._root / name
            folder.mkdir(parents=True, exist_ok=True)
            staged = self.folder / f".{item}.new"
            staged.write_bytes(body)
            staged.replace(folder / item)
        return item

    def read(self, item: str) -> bytes:
        """The file of a picture. Raises `NotFound`."""
        return self._find(item).read_bytes()

    def remove(self, item: str) -> None:
        """Removes a picture, and its class if it was the last one. Raises `NotFound`."""
        with self._changing():
            path = self._find(item)
            path.unlink()
            with contextlib.suppress(OSError):  # not empty
                path.parent.rmdir()

    def rename(self, name: str, to: str) -> None:
        """Gives a class another name. Raises `NotFound` and `InvalidInput`."""
        to = check_class(to)
        with self._changing():
            known = self.classes()
            if name not in known:
                raise NotFound(f"There is no class {name[:MAX_CLASS_CHARS]!r}.", known=[*known])
            if name != to and to in known:
                raise InvalidInput(
                    f"There is a class {to!r} already.",
                    hint="Choose another name.",
                    field="to",
                    expected="a new name",
                    got=to,
                )
            (self._root / name).rename(self._root / to)

    def check_trainable(self) -> None:
        """Raises `InvalidInput` unless there are enough classes with enough pictures."""
        counts = {name: len(items) for name, items in self.classes().items()}
        if len(counts) < MIN_CLASSES:
            raise InvalidInput(
                f"A model needs at least {MIN_CLASSES} classes with pictures; there"
                f" {'is' if len(counts) == 1 else 'are'} {len(counts) or 'none'}.",
                hint="Add pictures of something else, to tell it apart from.",
                field="collection",
                expected=f"{MIN_CLASSES} classes",
                got=str(len(counts)),
            )
        few = {name: count for name, count in counts.items() if count < MIN_PICTURES}
        if few:
            words = ", ".join(f"{name!r} has {count}" for name, count in few.items())
            raise InvalidInput(
                f"Each class needs at least {MIN_PICTURES} pictures: {words}.",
                hint="Add more of them; from 50 on, results are reliable.",
                field="collection",
                expected=f"{MIN_PICTURES} pictures of each class",
                got=words,
            )

    def copy_to(self, target: Path) -> None:
        """Makes `target` a data set of the pictures as they are now; they share the disk space."""
        if target.exists():
            return
        staged = target.with_name(f".{target.name}.new")
        shutil.rmtree(staged, ignore_errors=True)
        with self._changing():
            shutil.copytree(self.data, staged, copy_function=_link)
        staged.rename(target)

    def delete(self) -> None:
        """Deletes the collection with its pictures."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _root(self) -> Path:
        return self.folder / PICTURES

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        with hold_lock(self.folder / ".lock"):
            os.utime(self.folder)
            yield

    def _find(self, item: str) -> Path:
        for folder in _list(self._root) if ITEM.fullmatch(item) else ():
            if (folder / item).is_file():
                return folder / item
        raise NotFound(f"There is no picture {item[:40]!r}.", hint="It may have been removed.")

    def _check_room(self, known: dict[str, list[str]], name: str, size: int) -> None:
        limits = self.limits
        used = sum(
            (self._root / of / item).stat().st_size for of, items in known.items() for item in items
        )
        count = sum(map(len, known.values()))
        if count >= limits.pictures or used + size > limits.bytes:
            raise CollectionFull(
                f"A collection has at most {limits.pictures:,} pictures and"
                f" {limits.bytes / MB:,.0f} MB.",
                hint="Remove some, or train with the command line: modelpad train images FOLDER",
                limit=limits.pictures,
            )
        if name not in known and len(known) >= MAX_CLASSES:
            raise CollectionFull(
                f"A collection has at most {MAX_CLASSES} classes.", limit=MAX_CLASSES
            )


class Collections:
    """All collections under `root`; any number of processes may use them at once."""

    def __init__(self, root: Path, limits: CollectionLimits | None = None) -> None:
        """`root` is created by the first collection."""
        self.root, self.limits = root, limits or CollectionLimits()

    def create(self, owner: str) -> Collection:
        """A new, empty collection. Raises `CollectionFull`."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.remove_expired()
        if len(self._folders()) >= self.limits.collections:
            raise CollectionFull(
                f"The server keeps at most {self.limits.collections} collections of pictures.",
                hint="Delete one that is not needed any more.",
                limit=self.limits.collections,
            )
        folder = self.root / secrets.token_hex(ID_BYTES)
        (folder / PICTURES).mkdir(parents=True, mode=0o700)
        (folder / OWNER).write_text(owner, "utf-8")
        return Collection(folder, self.limits)

    def open(self, id: str, owner: str) -> Collection:
        """A collection of that owner. Raises `NotFound`."""
        folder = self.root / id
        if ID.fullmatch(id) and folder.is_dir() and self._owner_of(folder) == owner:
            return Collection(folder, self.limits)
        raise NotFound(
            f"There is no collection {id[:40]!r}.", hint="Collections expire when they are unused."
        )

    def owned(self, owner: str) -> list[Collection]:
        """Those of an owner, the last changed first."""
        folders = sorted(self._folders(), key=_age, reverse=True)
        own = [folder for folder in folders if self._owner_of(folder) == owner]
        return [Collection(folder, self.limits) for folder in own]

    def remove_expired(self, now: float | None = None) -> None:
        """Deletes collections that have not been used for as long as the limits say."""
        now = time.time() if now is None else now
        for folder in self._folders():
            if _age(folder) < now - self.limits.keep_s:
                shutil.rmtree(folder, ignore_errors=True)

    def _folders(self) -> list[Path]:
        return [folder for folder in _list(self.root) if ID.fullmatch(folder.name)]

    def _owner_of(self, folder: Path) -> str | None:
        try:
            return (folder / OWNER).read_text("utf-8")
        except OSError:
            return None


def check_class(name: str) -> str:
    """A class's name, in Unicode's form C. Raises `InvalidInput` unless a folder can have it."""
    name = unicodedata.normalize("NFC", name.strip())
    unsafe = UNSAFE.search(name)
    if not name or len(name) > MAX_CLASS_CHARS or unsafe or name[0] == "." or name[-1] == ".":
        reason = f"it contains {unsafe[0]!r}" if unsafe else "it begins or ends with a dot"
        if not name or len(name) > MAX_CLASS_CHARS:
            reason = f"it has {len(name)} characters"
    elif RESERVED.fullmatch(name):
        reason = "some systems reserve it"
    else:
        return name
    raise InvalidInput(
        f"A class cannot be called {name[:MAX_CLASS_CHARS]!r}: {reason}.",
        hint=f"Use 1 to {MAX_CLASS_CHARS} letters, digits and spaces.",
        field="class",
        expected="a short name",
        got=name[:MAX_CLASS_CHARS],
    )


def name_item(body: bytes) -> str:
    """The name of a picture's file, by its content. Raises `InvalidInput` for other files."""
    suffix = next((each for magic, each in SUFFIXES.items() if body.startswith(magic)), None)
    if suffix is None:
        raise InvalidInput(
            "This file is not a PNG, JPEG or WebP picture.",
            hint="Choose another file, or convert it.",
            field="picture",
            expected="PNG, JPEG or WebP",
            got=repr(body[:8]),
        )
    return hashlib.sha256(body).hexdigest()[:ITEM_CHARS] + suffix


def _list(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.name[0] != "."]
    except OSError:
        return []


def _age(path: Path) -> float:
    with contextlib.suppress(OSError):
        return path.stat().st_mtime
    return 0.0


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
