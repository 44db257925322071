"""One function for every data set: a name from the catalogue, a folder, a table or an archive.

Dispatches to the module for each kind of source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from modelpad.datasets.archive_members import detect_archive
from modelpad.datasets.catalogue import (
    CATALOGUE,
    IMDB,
    MNIST,
    UCI_DIGITS,
    WIKIPEDIA,
    WIKITEXT,
    CatalogueEntry,
    data_set_names,
    find_file,
    require_data_set,
)
from modelpad.datasets.class_folders import TEST_NAMES, list_children
from modelpad.datasets.dataset import DataSet
from modelpad.datasets.folder import load_folder
from modelpad.datasets.imdb import load_imdb
from modelpad.datasets.mnist import holds_idx_files, load_idx_folder, load_mnist
from modelpad.datasets.options import LoadOptions, OnUnreadable, TableOptions
from modelpad.datasets.progress import Progress
from modelpad.datasets.table import find_tables, load_table
from modelpad.datasets.table_file import is_table
from modelpad.datasets.text_folder import (
    holds_texts,
    is_text,
    load_text_file,
    load_text_folder,
)
from modelpad.datasets.uci_digits import load_uci_digits
from modelpad.datasets.unpack import hash_file, require_sha256, unpack_archive
from modelpad.datasets.wikitext import load_wikitext
from modelpad.datasets.xray import holds_xray_metadata, load_xray
from modelpad.errors import DataSetInvalid, DataSetNotFound, suggest_name

WIKIPEDIA_COLUMNS = TableOptions("text", ("topic",), "classification")
PATH_HINT = (
    "Give the path of a folder with one sub-folder of images or texts per class, of a CSV, TSV or"
    " JSON Lines file, or of an archive of these."
)


def load_data(
    name_or_path: str | Path,
    *,
    roots: Sequence[Path] = (),
    cache: Path | None = None,
    progress: Progress | None = None,
    on_unreadable: OnUnreadable = "refuse",
    options: LoadOptions | None = None,
) -> DataSet:
    """A data set by its name in the catalogue, or by the path of a folder, table or archive.

    A folder holds images or texts in class sub-folders (or `train/` and `test/` with them), a table
    or `train.*` and `test.*`, texts without classes, or four IDX files named as MNIST's. A name
    that is not in the catalogue is looked up in `roots`. Archives are unpacked into `cache`.
    Raises DataSetNotFound, DataSetInvalid, TooLarge and MissingExtra.
    """
    options = options or LoadOptions()
    entry = CATALOGUE.get(str(name_or_path))
    if entry is None:
        path = locate(name_or_path, roots)
        return load_path(path, cache, options, on_unreadable, progress)
    if entry is MNIST:
        return load_mnist(roots, cache, progress)
    if entry is UCI_DIGITS:
        return load_uci_digits()
    folder = require_data_set(entry, roots, cache)
    if entry is IMDB:
        data = load_imdb(folder)
    elif entry is WIKITEXT:
        data = load_wikitext(folder)
    elif entry is WIKIPEDIA:
        table = find_file(entry.marker, [folder]) or folder / entry.marker
        data = load_table(table, options=LoadOptions(table=WIKIPEDIA_COLUMNS))
    else:  # flowers, ants-bees, xray
        data = load_folder(folder, options, on_unreadable, progress)
    return describe(data, entry, folder)


def describe(data: DataSet, entry: CatalogueEntry, folder: Path) -> DataSet:
    """The data set with the name, licence and source that the catalogue has for it."""
    return replace(
        data,
        name=entry.name,
        title=entry.title,
        licence=entry.licence,
        source=entry.source,
        location=folder,
    )


def load_path(
    path: Path,
    cache: Path | None,
    options: LoadOptions,
    on_unreadable: OnUnreadable,
    progress: Progress | None,
) -> DataSet:
    """A folder, table or archive."""
    if path.is_dir():
        if options.sha256 is not None:
            raise DataSetInvalid(
                f"{path} is a folder: a SHA-256 can only be compared with a file.",
                hint="Give the path of the archive, or leave the checksum out.",
                path=str(path),
            )
        return load_directory(path, cache, options, on_unreadable, progress)
    if is_text(path):
        return load_text_file(path)
    if is_table(path):
        if options.sha256 is not None:
            require_sha256(path, hash_file(path), options.sha256)
        table = load_table(path, None, options, on_unreadable, progress)
        return replace(table, verified=options.sha256 is not None)
    folder = open_archive(path, cache, options.sha256, progress)
    data = load_directory(enter_single(folder), cache, options, on_unreadable, progress)
    name = path.name.split(".")[0]
    return replace(
        data,
        name=name,
        title=f"{name} (archive)",
        source=str(path),
        location=path,
        files=(path,),
        verified=options.sha256 is not None,
    )


def load_directory(
    folder: Path,
    cache: Path | None,
    options: LoadOptions,
    on_unreadable: OnUnreadable,
    progress: Progress | None,
) -> DataSet:
    """A folder with IDX files, tables or images. Class folders have priority over tables."""
    if holds_idx_files(folder):
        return load_idx_folder(folder)
    if holds_xray_metadata(folder):
        return load_xray(folder, options, on_unreadable, progress)
    tables = find_tables(folder)
    if tables is not None and not has_class_folders(folder):
        return load_table(*tables, options, on_unreadable, progress)
    if holds_texts(folder):
        return load_text_folder(folder, on_unreadable)
    return load_folder(folder, options, on_unreadable, progress)


def has_class_folders(folder: Path) -> bool:
    """Whether a folder has `train/`, or at least two sub-folders that are not splits."""
    names = {child.name.lower() for child in list_children(folder) if child.is_dir()}
    return "train" in names or len(names - set(TEST_NAMES)) >= 2


def open_archive(
    path: Path, cache: Path | None, sha256: str | None, progress: Progress | None
) -> Path:
    """The folder in the cache with the content of an archive, unpacked once per content."""
    if detect_file(path) is None:
        raise DataSetInvalid(
            f"{path} is neither a folder, a table nor an archive.",
            hint=PATH_HINT,
            path=str(path),
        )
    if cache is None:
        raise DataSetNotFound(
            f"{path} has to be unpacked, but there is no cache folder.",
            hint="Set MODELPAD_CACHE to a folder, or unpack the archive yourself.",
        )
    found = hash_file(path)
    if sha256 is not None:
        require_sha256(path, found, sha256)
    return unpack_archive(path, cache / "unpacked" / found, progress=progress)


def detect_file(path: Path) -> str | None:
    """The kind of archive that a file is; None if none. Raises DataSetInvalid when unreadable."""
    try:
        return detect_archive(path)
    except OSError as error:
        raise DataSetInvalid(
            f"{path} cannot be read: {error.strerror or error}.",
            hint="Check that it is a file and that you may read it.",
            path=str(path),
        ) from error


def enter_single(folder: Path) -> Path:
    """The folder, or the one folder that is all it contains: archives often wrap their files."""
    children = list_children(folder)
    while len(children) == 1 and children[0].is_dir():
        folder = children[0]
        children = list_children(folder)
    return folder


def locate(name_or_path: str | Path, roots: Sequence[Path]) -> Path:
    """The file or folder at a path, or of that name inside one of `roots`."""
    given = Path(name_or_path).expanduser()
    for path in (given, *(root / given for root in roots)):
        if path.exists():
            return path
    raise DataSetNotFound(
        f"There is no data set called {name_or_path}, and no file or folder either.",
        hint=f"{suggest_name(str(name_or_path), CATALOGUE, kind='data set')} {PATH_HINT}",
        known=data_set_names(),
    )
