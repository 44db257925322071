"""One door to every data set: a name from the catalogue or the path of a folder.

Knows only which module loads what.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from modelpad.datasets.catalogue import CATALOGUE, MNIST, UCI_DIGITS, data_set_names
from modelpad.datasets.dataset import DataSet
from modelpad.datasets.download import Progress
from modelpad.datasets.folder import FolderOptions, OnUnreadable, load_folder
from modelpad.datasets.mnist import holds_idx_files, load_idx_folder, load_mnist
from modelpad.datasets.uci_digits import load_uci_digits
from modelpad.errors import DataSetNotFound, suggest_name


def load_data(
    name_or_path: str | Path,
    *,
    roots: Sequence[Path] = (),
    cache: Path | None = None,
    progress: Progress | None = None,
    on_unreadable: OnUnreadable = "refuse",
    size: tuple[int, int] | None = None,
    channels: int | None = None,
) -> DataSet:
    """A data set by name (`mnist`, `uci-digits`) or by the path of a folder.

    A folder holds pictures in class sub-folders (or `train/` and `test/` with them), or four IDX
    files named as MNIST's. A name that is not in the catalogue is looked for in `roots`. `size`
    (height, width) and `channels` (1 or 3) apply to folders of pictures. Raises DataSetNotFound,
    DataSetInvalid, TooLarge and MissingExtra.
    """
    if str(name_or_path) == MNIST.name:
        return load_mnist(roots, cache, progress)
    if str(name_or_path) == UCI_DIGITS.name:
        return load_uci_digits()
    folder = locate_folder(name_or_path, roots)
    if holds_idx_files(folder):
        return load_idx_folder(folder)
    options = FolderOptions(size=size, channels=channels, on_unreadable=on_unreadable)
    return load_folder(folder, options, progress)


def locate_folder(name_or_path: str | Path, roots: Sequence[Path]) -> Path:
    """The folder meant by a path, or by a name inside one of `roots`. Raises DataSetNotFound."""
    given = Path(name_or_path).expanduser()
    for folder in (given, *(root / given for root in roots)):
        if folder.is_dir():
            return folder
    if given.exists():
        raise DataSetNotFound(
            f"{given} is a file, not a folder.",
            hint="Give the folder that holds one sub-folder of pictures a class.",
        )
    raise DataSetNotFound(
        f"There is no data set called {name_or_path}, and no folder either.",
        hint=suggest_name(str(name_or_path), CATALOGUE, kind="data set")
        + " Or give the path of a folder with one sub-folder of pictures a class.",
        known=data_set_names(),
    )
