"""Data sets by name or path: images, texts and tables, downloaded and verified, read lazily.

data = load_data("mnist", roots=[Path("datasets")], cache=Path("cache"))
data.train.images    # uint8 (60000, 28, 28)
data.train.labels    # int64 (60000,)

data = load_data("photographs/")
image, label = data.train[0]    # decoded now: uint8 (H, W, 3), and int64
"""

from __future__ import annotations

from modelpad.datasets.catalogue import (
    CATALOGUE,
    CatalogueEntry,
    RemoteFile,
    data_set_names,
    find_data_set,
)
from modelpad.datasets.checksum import checksum_files
from modelpad.datasets.contact_sheet import contact_sheet
from modelpad.datasets.dataset import DataSet
from modelpad.datasets.duplicates import Duplicates, find_duplicates, find_leaks
from modelpad.datasets.folder import load_folder
from modelpad.datasets.inputs import ImageFiles, ImageInput, InputKind, TextInput, Texts
from modelpad.datasets.load import load_data
from modelpad.datasets.mnist import load_idx_folder, load_mnist
from modelpad.datasets.options import (
    TASKS,
    LoadOptions,
    OnUnreadable,
    TableOptions,
    Task,
    XrayOptions,
)
from modelpad.datasets.pen_digits import PenDigit, draw_strokes, load_pen_strokes
from modelpad.datasets.pictures import Resize
from modelpad.datasets.progress import Progress, ProgressUpdate
from modelpad.datasets.split import Batch, Example, Split
from modelpad.datasets.table import load_table
from modelpad.datasets.uci_digits import load_uci_digits
from modelpad.datasets.unpack import UnpackLimits, unpack_archive
from modelpad.datasets.xray import load_xray

__all__ = [
    "CATALOGUE",
    "TASKS",
    "Batch",
    "CatalogueEntry",
    "DataSet",
    "Duplicates",
    "Example",
    "ImageFiles",
    "ImageInput",
    "InputKind",
    "LoadOptions",
    "OnUnreadable",
    "PenDigit",
    "Progress",
    "ProgressUpdate",
    "RemoteFile",
    "Resize",
    "Split",
    "TableOptions",
    "Task",
    "TextInput",
    "Texts",
    "UnpackLimits",
    "XrayOptions",
    "checksum_files",
    "contact_sheet",
    "data_set_names",
    "draw_strokes",
    "find_data_set",
    "find_duplicates",
    "find_leaks",
    "load_data",
    "load_folder",
    "load_idx_folder",
    "load_mnist",
    "load_pen_strokes",
    "load_table",
    "load_uci_digits",
    "load_xray",
    "unpack_archive",
]
