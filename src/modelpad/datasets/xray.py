"""The public COVID chest X-ray collection: `metadata.csv` and the pictures that it names.

https://github.com/ieee8023/covid-chestxray-dataset (Cohen et al. 2020). A row is a picture of a
patient, with the finding, the view and the modality. Independent of what is trained on it.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modelpad.datasets.class_folders import SUFFIXES
from modelpad.datasets.columns import number_groups
from modelpad.datasets.dataset import DataSet
from modelpad.datasets.idx import damaged
from modelpad.datasets.image_check import check_images
from modelpad.datasets.options import LoadOptions, OnUnreadable, XrayOptions
from modelpad.datasets.progress import Progress
from modelpad.datasets.split import Split
from modelpad.datasets.table import find_image, require_files
from modelpad.datasets.table_file import read_lines
from modelpad.errors import DataSetInvalid

METADATA = "metadata.csv"
COLUMNS = ("patientid", "finding", "view", "modality", "folder", "filename")
MODALITY = "X-ray"
UNKNOWN = ("", "todo", "unknown")
LISTED = 4
MAX_ROWS = 1_000_000

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Selected:
    """The rows that are used, each with its class, and what is said about those left out."""

    rows: tuple[Row, ...]
    classes: tuple[int, ...]
    notes: tuple[str, ...]


def holds_xray_metadata(folder: Path) -> bool:
    """Whether a folder has the collection's `metadata.csv`."""
    path = folder / METADATA
    if not path.is_file():
        return False
    try:
        names = next(csv.reader([next(read_lines(path), "")]), [])
    except (csv.Error, DataSetInvalid):  # a table of something else
        return False
    return set(COLUMNS) <= {name.strip() for name in names}


def load_xray(
    folder: Path,
    options: LoadOptions | None = None,
    on_unreadable: OnUnreadable = "refuse",
    progress: Progress | None = None,
) -> DataSet:
    """The X-rays in `folder` with two classes by finding; `groups` of the split are patients.

    `options.xray` chooses views and findings; rows of other views, modalities and of unknown
    findings are left out, which the data set's `notes` count. Raises DataSetInvalid: a damaged
    table, no picture of a class, missing or unreadable files (unless skipped).
    """
    options = options or LoadOptions()
    path = folder / METADATA
    selected = select_rows(list(read_metadata(path)), options.xray)
    files = tuple(locate_picture(folder, row, n) for n, row in enumerate(selected.rows, start=1))
    if on_unreadable == "refuse":
        require_files(folder, files)
    checked = check_images(folder, files, options, on_unreadable, progress)
    labels = np.array(selected.classes, np.int64)[checked.kept]
    require_both(path, labels, options.xray)
    patients = number_groups([selected.rows[n]["patientid"] for n in checked.kept.tolist()])
    names = tuple(str(files[n].relative_to(folder)) for n in checked.kept.tolist())
    return DataSet(
        name=folder.resolve().name,
        title="COVID chest X-ray collection",
        licence="various, by picture: see metadata.csv",
        source="J. P. Cohen et al.: COVID-19 image data collection, 2020",
        classes=options.xray.names,
        train=Split(checked.inputs, labels, names, patients),
        skipped=checked.skipped,
        location=folder,
        files=(path, *files),
        notes=selected.notes,
    )


def read_metadata(path: Path) -> Iterator[Row]:
    """The rows of the table; columns without a name, which it has, are ignored."""
    reader = csv.reader(read_lines(path))
    try:
        header = [name.strip() for name in next(reader, [])]
        lacking = [name for name in COLUMNS if name not in header]
        if lacking:
            raise damaged(path, f"lacks the columns {', '.join(lacking)}")
        for number, cells in enumerate(reader, start=1):
            if number > MAX_ROWS:
                raise damaged(path, f"has more than {MAX_ROWS:,} rows")
            row = dict(zip(header, cells, strict=False))
            if cells:
                yield {name: row.get(name, "").strip() for name in COLUMNS}
    except csv.Error as error:
        raise damaged(path, f"is damaged: line {reader.line_num:,}: {error}") from error


def select_rows(rows: Sequence[Row], options: XrayOptions) -> Selected:
    """The X-rays of the wanted views with a known finding."""
    views = {view.casefold() for view in options.views}
    pictures = [row for row in rows if row["modality"].casefold() == MODALITY.casefold()]
    viewed = [row for row in pictures if row["view"].casefold() in views]
    found = [(row, classify(row["finding"], options)) for row in viewed]
    kept = [(row, label) for row, label in found if label is not None]
    others = Counter(
        row["view"] or "none" for row in pictures if row["view"].casefold() not in views
    )
    unused = Counter(row["finding"] or "none" for row, label in found if label is None)
    notes = [
        f"Used: {len(kept):,} of {len(rows):,} rows, with the views {', '.join(options.views)}."
    ]
    if len(rows) > len(pictures):
        notes.append(f"Left out, no X-rays: {len(rows) - len(pictures):,}.")
    if others:
        notes.append(f"Left out, other views: {others.total():,} ({list_counts(others)}).")
    if unused:
        notes.append(f"Left out, other findings: {unused.total():,} ({list_counts(unused)}).")
    return Selected(tuple(row for row, _ in kept), tuple(label for _, label in kept), tuple(notes))


def classify(finding: str, options: XrayOptions) -> int | None:
    """1 for a positive finding or a kind of it, 0 for any other, None if it is not used."""
    if finding.casefold() in UNKNOWN:
        return None
    if any(is_kind_of(finding, each) for each in options.positive):
        return 1
    if options.negative and not any(is_kind_of(finding, each) for each in options.negative):
        return None
    return 0


def is_kind_of(finding: str, kind: str) -> bool:
    """Whether `Pneumonia/Viral/COVID-19` is a kind of `Pneumonia/Viral`: part by part."""
    parts, wanted = (text.casefold().split("/") for text in (finding, kind))
    return parts[: len(wanted)] == wanted


def list_counts(counts: Counter[str]) -> str:
    """The most frequent, each with its number."""
    named = ", ".join(f"{name} {count:,}" for name, count in counts.most_common(LISTED))
    more = len(counts) - LISTED
    return f"{named} and {more} more kinds" if more > 0 else named


def locate_picture(folder: Path, row: Row, number: int) -> Path:
    """The file of a row. Raises DataSetInvalid when it leads out of the folder."""
    parts = [row["folder"], row["filename"]] if row["folder"] else [row["filename"]]
    path = find_image(folder, "/".join(parts), number)
    if path.suffix.lower() not in SUFFIXES:
        raise DataSetInvalid(
            f"{METADATA} names {row['filename'][:200]!r}, which is not a picture.",
            hint=f"Supported files: {', '.join(sorted(SUFFIXES))}.",
            row=number,
        )
    return path


def require_both(path: Path, labels: NDArray[np.int64], options: XrayOptions) -> None:
    """Raises DataSetInvalid unless both classes have a picture."""
    for label, name in enumerate(options.names):
        if not (labels == label).any():
            raise DataSetInvalid(
                f"{path} has no usable picture of the class {name!r}.",
                hint=f"Choose other views than {', '.join(options.views)}, or other findings.",
                path=str(path),
            )
