"""The named data sets: their official addresses, contents and licences.

A data set is looked up in each root, `ROOT/NAME/`, then in the cache, `CACHE/NAME/`. Missing files
with an official address are downloaded into the cache; others must be placed there by the user.
Downloaded files are identified by the SHA-256 of their *decompressed* content: mirrors wrap the
same content in different gzip files. Independent of file formats and of how downloads work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelpad.errors import DataSetNotFound


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a data set. `sha256` is of its content, `download_bytes` of its gzip wrapper."""

    name: str
    sha256: str
    download_bytes: int


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A named data set.

    `mirrors` are tried in order; each ends with a slash. `layout` describes the expected files
    for error messages; it is empty when the data comes with a package. `marker` is a file or folder
    that is always among them.
    """

    name: str
    title: str
    licence: str
    source: str
    mirrors: tuple[str, ...] = ()
    files: tuple[RemoteFile, ...] = ()
    layout: str = ""
    marker: str = ""

    def addresses(self, file: RemoteFile) -> tuple[str, ...]:
        """Where `file` can be downloaded, in the order to try."""
        return tuple(mirror + file.name for mirror in self.mirrors)

    @property
    def download_bytes(self) -> int:
        """The size of all its downloads; 0 when it cannot be downloaded."""
        return sum(file.download_bytes for file in self.files)


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
    layout="the four IDX files of MNIST",
    marker="train-images-idx3-ubyte.gz",
)

UCI_DIGITS = CatalogueEntry(
    name="uci-digits",
    title="UCI handwritten digits, 8x8",
    licence="CC BY 4.0",
    source="E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI, 1998"
    " (the copy that ships with scikit-learn)",
)

FLOWERS = CatalogueEntry(
    name="flowers",
    title="Flowers: small photographs of five kinds",
    licence="CC BY 2.0, each photograph by its author",
    source="The flower photographs of TensorFlow's tutorials, resized to 128x128 by others",
    layout="train/CLASS/*.jpg and test/CLASS/*.jpg, where CLASS is daisy, dandelion, rose,"
    " sunflower and tulip",
    marker="train/daisy",
)

ANTS_BEES = CatalogueEntry(
    name="ants-bees",
    title="Ants and bees: photographs",
    licence="not stated by its source",
    source="The photographs of PyTorch's transfer learning tutorial, short side 224 pixels",
    layout="ants/*.jpg and bees/*.jpg",
    marker="ants",
)

XRAY = CatalogueEntry(
    name="xray",
    title="Chest X-rays, normal and with pneumonia",
    licence="various, by picture",
    source="Chest X-rays of public COVID-19 and pneumonia collections, short side 384 at most",
    layout="train/CLASS/*.jpg and test/CLASS/*.jpg, where CLASS is NORMAL and PNEUMONIA",
    marker="train/PNEUMONIA",
)

WIKIPEDIA = CatalogueEntry(
    name="wikipedia",
    title="Wikipedia: the lead sections of 10,031 English articles, by topic",
    licence="CC BY-SA 4.0",
    source="The authors of Wikipedia's vital articles, https://en.wikipedia.org",
    layout='leads.jsonl.gz, one {"title", "text", "topic"} per line',
    marker="leads.jsonl.gz",
)

IMDB = CatalogueEntry(
    name="imdb",
    title="IMDB: 50,000 film reviews, positive and negative, and 50,000 without a label",
    licence="not stated by its source",
    source="A. Maas et al.: Learning Word Vectors for Sentiment Analysis, ACL 2011",
    layout='train.jsonl.gz and test.jsonl.gz, one {"text", "label"} per line, and unsup.jsonl.gz,'
    ' one {"text"} per line',
    marker="train.jsonl.gz",
)

WIKITEXT = CatalogueEntry(
    name="wikitext-103",
    title="WikiText-103: 28,475 good and featured articles of Wikipedia",
    licence="CC BY-SA 3.0",
    source="S. Merity et al.: Pointer Sentinel Mixture Models, ICLR 2017",
    layout="wiki.train.raw and wiki.test.raw of WikiText-103",
    marker="wiki.train.raw",
)

CATALOGUE: dict[str, CatalogueEntry] = {
    entry.name: entry
    for entry in (ANTS_BEES, FLOWERS, IMDB, MNIST, UCI_DIGITS, WIKIPEDIA, WIKITEXT, XRAY)
}


def data_set_names() -> tuple[str, ...]:
    """The names that `load_data` accepts, sorted."""
    return tuple(sorted(CATALOGUE))


def find_data_set(entry: CatalogueEntry, roots: Sequence[Path], cache: Path | None) -> Path | None:
    """The first folder that holds the marker of a data set; None if none does."""
    for folder in lookup_folders(entry.name, roots, cache):
        if (folder / entry.marker).is_dir() or find_file(entry.marker, [folder]) is not None:
            return folder
    return None


def require_data_set(entry: CatalogueEntry, roots: Sequence[Path], cache: Path | None) -> Path:
    """The folder of a data set that cannot be downloaded. Raises DataSetNotFound."""
    folder = find_data_set(entry, roots, cache)
    if folder is None:
        searched = lookup_folders(entry.name, roots, cache)
        raise DataSetNotFound(
            f"{entry.name} was not found, and it has no official download."
            f" Searched: {', '.join(map(str, searched)) or 'no folder at all'}.",
            hint=f"Put {entry.layout} into a folder {entry.name}/ and set MODELPAD_DATA to the"
            " folder that contains it.",
            folders=[str(folder) for folder in searched],
        )
    return folder


def lookup_folders(name: str, roots: Sequence[Path], cache: Path | None) -> tuple[Path, ...]:
    """The folders to search for files of the data set `name`, in order."""
    return tuple(base / name for base in (*roots, *(() if cache is None else (cache,))))


def find_file(name: str, folders: Sequence[Path]) -> Path | None:
    """The first file called `name`, or `name` without its `.gz`, in `folders`; None if none."""
    for folder in folders:
        for candidate in (folder / name, folder / name.removesuffix(".gz")):
            if candidate.is_file():
                return candidate
    return None


def require_file(entry: CatalogueEntry, folder: Path, name: str) -> Path:
    """A data set's file, compressed or not. Raises DataSetNotFound."""
    path = find_file(name, [folder])
    if path is None:
        raise DataSetNotFound(
            f"{folder} has no {name}.", hint=f"Put {entry.layout} there.", folders=[str(folder)]
        )
    return path
