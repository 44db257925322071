"""The files that a training needs elsewhere: named data sets, and whatever its options name.

They travel as one archive, which is unpacked in the folder where the training runs.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from modelpad.datasets.catalogue import CATALOGUE
from modelpad.errors import UsageError

MAX_INPUT_BYTES = 100_000_000
DATA_SETS, FILES = "data-sets", "files"


class Inputs:
    """Collects what is to be sent; nothing if the other machines have it under the same paths."""

    def __init__(self, *, are_shared: bool) -> None:
        self._are_shared = are_shared
        self._contents: dict[str, Path] = {}

    def add(self, given: str, roots: Sequence[Path], *, with_folder: bool = False) -> str:
        """A path, or the name of a data set in one of `roots`, as the training is to read it."""
        text = self.add_path(given, with_folder=with_folder)
        if text == given:
            self.add_data_set(given, roots)
        return text

    def add_path(self, given: str, *, with_folder: bool = False) -> str:
        """A path of this machine, as the training is to read it; other texts stay as they are.

        `FILE.py:OBJECT` counts as a path. `with_folder` sends what is beside a file, too.
        """
        if given in CATALOGUE:
            return given
        if not given or not Path(given).expanduser().exists():
            file, colon, rest = given.rpartition(":")
            if not colon or not Path(file).expanduser().is_file():
                return given
            return f"{self.add_path(file)}:{rest}"
        path = Path(given).expanduser().resolve()
        if self._are_shared:
            return str(path)
        if with_folder and path.is_file():
            return f"{self._add(path.parent)}/{path.name}"
        return self._add(path)

    def add_data_set(self, name: str, roots: Sequence[Path]) -> None:
        """A data set that is named by its folder in one of `roots`, unless it is large."""
        if self._are_shared or Path(name).is_absolute() or ".." in Path(name).parts:
            return
        for root in roots:
            path = root / name
            if path.exists() and measure(path) <= MAX_INPUT_BYTES:
                self._contents[f"{DATA_SETS}/{name}"] = path
                return

    def pack(self) -> bytes:
        """All as one archive. Raises `UsageError` if it is too large, or cannot be read."""
        size = sum(map(measure, self._contents.values()))
        if size > MAX_INPUT_BYTES:
            paths = ", ".join(map(str, self._contents.values()))
            raise UsageError(
                f"{paths}: {size / 1e6:,.0f} MB are too much to send to the cluster.",
                hint="Put the data where all its machines find it under the same path, and add"
                " --shared-files; or name a data set of theirs (MODELPAD_DATA).",
            )
        try:
            return pack(self._contents)
        except OSError as error:
            raise UsageError(
                f"{error.filename} cannot be read: {error.strerror}.", hint="Check permissions."
            ) from error

    def _add(self, path: Path) -> str:
        for there, known in self._contents.items():
            if known == path:
                return there
        there = f"{FILES}/{len(self._contents)}/{path.name}"
        self._contents[there] = path
        return there


def measure(path: Path) -> int:
    """The bytes of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(each.stat().st_size for each in walk(path) if each.is_file())


def walk(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """All files and folders in `folder`, those behind links too, but for links back to `above`."""
    above |= {folder.resolve()}
    for path in sorted(folder.iterdir()):
        if not path.is_dir():
            yield path
        elif path.resolve() not in above:
            yield path
            yield from walk(path, above)


def pack(contents: Mapping[str, Path]) -> bytes:
    """Files and folders under other names; links become what they point at. Raises `OSError`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as archive:
        for name, path in contents.items():
            archive.add(path, name, recursive=False)
            for each in walk(path) if path.is_dir() else ():
                archive.add(each, f"{name}/{each.relative_to(path).as_posix()}", recursive=False)
    return buffer.getvalue()


def unpack(body: bytes, folder: Path) -> None:
    """The inverse of `pack`, below a folder. Raises `OSError` and `tarfile.TarError`."""
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        archive.extractall(folder, filter="data")
