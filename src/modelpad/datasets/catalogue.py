"""The data sets that modelpad knows by name: their official addresses, contents and licences.

A file is looked for in each root, `ROOT/NAME/FILE`, then in the cache, `CACHE/NAME/FILE`, and is
downloaded into the cache only when neither has it. Files are known by the SHA-256 of their
*decompressed* content: mirrors wrap the same content in different gzip files.
Knows nothing of file formats or of how a download is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a data set. `sha256` is of its content, `download_bytes` of its gzip wrapper."""

    name: str
    sha256: str
    download_bytes: int


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """What is known of a named data set. `mirrors` are tried in order, each ends with a slash."""

    name: str
    title: str
    licence: str
    source: str
    mirrors: tuple[str, ...] = ()
    files: tuple[RemoteFile, ...] = ()

    def addresses(self, file: RemoteFile) -> tuple[str, ...]:
        """Where `file` can be downloaded, in the order to try."""
        return tuple(mirror + file.name for mirror in self.mirrors)


MNIST = CatalogueEntry(
    name="mnist",
    title="MNIST handwritten digits",
    licence="CC BY-SA 3.0",
    source="Y. LeCun, C. Cortes, C. J. C. Burges: The MNIST database of handwritten digits, 1998",
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    files=(
        RemoteFile(
            "train-images-idx3-ubyte.gz",
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            9_912_422,
        ),
        RemoteFile(
            "train-labels-idx1-ubyte.gz",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            28_881,
        ),
        RemoteFile(
            "t10k-images-idx3-ubyte.gz",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            1_648_877,
        ),
        RemoteFile(
            "t10k-labels-idx1-ubyte.gz",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            4_542,
        ),
    ),
)

UCI_DIGITS = CatalogueEntry(
    name="uci-digits",
    title="UCI handwritten digits, 8x8",
    licence="CC BY 4.0",
    source="E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI, 1998"
    " (the copy that ships with scikit-learn)",
)

CATALOGUE: dict[str, CatalogueEntry] = {entry.name: entry for entry in (MNIST, UCI_DIGITS)}


def data_set_names() -> tuple[str, ...]:
    """The names that `load_data` knows, sorted."""
    return tuple(sorted(CATALOGUE))


def lookup_folders(name: str, roots: Sequence[Path], cache: Path | None) -> tuple[Path, ...]:
    """The folders where files of the data set `name` are looked for, in order."""
    return tuple(base / name for base in (*roots, *(() if cache is None else (cache,))))


def find_file(name: str, folders: Sequence[Path]) -> Path | None:
    """The first file called `name`, or `name` without its `.gz`, in `folders`; None if none."""
    for folder in folders:
        for candidate in (folder / name, folder / name.removesuffix(".gz")):
            if candidate.is_file():
                return candidate
    return None
