"""The chest X-ray collection: patients, views and findings, from a small copy of its layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modelpad.datasets import LoadOptions, XrayOptions, load_data
from modelpad.datasets.xray import holds_xray_metadata
from modelpad.errors import DataSetInvalid

HEADER = "patientid,offset,sex,age,finding,view,modality,folder,filename,notes,"
COVID, OTHER = "Pneumonia/Viral/COVID-19", "Pneumonia/Bacterial/Klebsiella"
ROWS = [
    ("2", COVID, "PA", "X-ray", "a.png"),
    ("2", COVID, "AP", "X-ray", "b.png"),
    ("7", OTHER, "PA", "X-ray", "c.png"),
    ("8", "No Finding", "ap", "X-ray", "d.png"),
    ("9", COVID, "L", "X-ray", "e.png"),
    ("9", COVID, "Axial", "CT", "f.png"),
    ("10", "todo", "PA", "X-ray", "g.png"),
    ("", "Tuberculosis", "PA", "X-ray", "h.png"),
]


def write_collection(folder: Path, rows: Sequence[tuple[str, ...]] = ROWS) -> Path:
    (folder / "images").mkdir(parents=True)
    lines = [HEADER]
    for number, (patient, finding, view, modality, name) in enumerate(rows):
        picture = np.full((8, 8), number * 20, np.uint8)
        Image.fromarray(picture).save(folder / "images" / name)
        lines.append(f'{patient},0,M,60,{finding},{view},{modality},images,{name},"a, b",')
    (folder / "metadata.csv").write_text("\n".join(lines), "utf-8")
    return folder


def test_findings_are_classes_and_patients_are_groups(tmp_path: Path) -> None:
    data = load_data(write_collection(tmp_path / "covid"))
    assert data.classes == ("OTHER", "COVID-19")
    assert data.train.labels.tolist() == [1, 1, 0, 0, 0]
    assert data.train.groups is not None
    assert data.train.groups.tolist() == [0, 0, 1, 2, 3]
    assert data.train.names[0] == "images/a.png"
    assert data.train.images[2, 0, 0] == 40
    assert data.notes == (
        "Used: 5 of 8 rows, with the views PA, AP.",
        "Left out, no X-rays: 1.",
        "Left out, other views: 1 (L 1).",
        "Left out, other findings: 1 (todo 1).",
    )


def test_views_and_findings_can_be_chosen(tmp_path: Path) -> None:
    chosen = XrayOptions(("PA",), ("Pneumonia",), ("Tuberculosis",), ("NORMAL", "PNEUMONIA"))
    options = replace(LoadOptions(), xray=chosen)
    data = load_data(write_collection(tmp_path / "covid"), options=options)
    assert data.train.names == ("images/a.png", "images/c.png", "images/h.png")
    assert data.train.labels.tolist() == [1, 1, 0]


def test_missing_files_are_counted_and_named(tmp_path: Path) -> None:
    folder = write_collection(tmp_path / "covid")
    for name in "abcd":
        (folder / "images" / f"{name}.png").unlink()
    with pytest.raises(DataSetInvalid) as caught:
        load_data(folder)
    assert "4 of the 5 files" in str(caught.value)
    assert "images/a.png, images/b.png, images/c.png and 1 more" in str(caught.value)
    with pytest.raises(DataSetInvalid, match="no usable picture of the class 'COVID-19'"):
        load_data(folder, on_unreadable="skip")


def test_one_class_only(tmp_path: Path) -> None:
    folder = write_collection(tmp_path / "covid", ROWS[:2])
    with pytest.raises(DataSetInvalid, match="no usable picture of the class 'OTHER'"):
        load_data(folder)


@pytest.mark.parametrize("name", ["../../etc/passwd.png", "/etc/a.png"])
def test_a_file_outside_is_refused(tmp_path: Path, name: str) -> None:
    folder = write_collection(tmp_path / "covid")
    table = (folder / "metadata.csv").read_text("utf-8").replace("images,a.png", f",{name}")
    (folder / "metadata.csv").write_text(table, "utf-8")
    with pytest.raises(DataSetInvalid, match="not a file inside"):
        load_data(folder)


def test_a_truncated_table_is_refused_or_read_as_any_other(tmp_path: Path) -> None:
    folder = write_collection(tmp_path / "covid")
    (folder / "metadata.csv").write_text(HEADER + "\n", "utf-8")
    with pytest.raises(DataSetInvalid):
        load_data(folder)


def test_a_metadata_table_of_something_else_leaves_the_folder_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "metadata.csv"
    for content in (b'"' + b"x" * 140_000 + b'",finding\n', b"caf\xe9,finding\n", b"", b"a,b\n"):
        path.write_bytes(content)
        assert not holds_xray_metadata(tmp_path)
