"""Named data sets, folders of pictures and pen strokes, loaded the same way and verified.

data = load_data("mnist", roots=[Path("datasets")], cache=Path("cache"))
data.train.images   # uint8 (60000, 28, 28)
data.train.labels   # int64 (60000,)
"""

from __future__ import annotations

from modelpad.datasets.catalogue import CATALOGUE, CatalogueEntry, RemoteFile, data_set_names
from modelpad.datasets.contact_sheet import contact_sheet
from modelpad.datasets.dataset import DataSet, Split
from modelpad.datasets.download import Progress
from modelpad.datasets.folder import FolderOptions, load_folder
from modelpad.datasets.load import load_data
from modelpad.datasets.mnist import load_idx_folder, load_mnist
from modelpad.datasets.pen_digits import PenDigit, draw_strokes, load_pen_strokes
from modelpad.datasets.uci_digits import load_uci_digits

__all__ = [
    "CATALOGUE",
    "CatalogueEntry",
    "DataSet",
    "FolderOptions",
    "PenDigit",
    "Progress",
    "RemoteFile",
    "Split",
    "contact_sheet",
    "data_set_names",
    "draw_strokes",
    "load_data",
    "load_folder",
    "load_idx_folder",
    "load_mnist",
    "load_pen_strokes",
    "load_uci_digits",
]
