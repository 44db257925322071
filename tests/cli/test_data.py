"""`modelpad data`: the list of data sets, and what is in one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images of two classes and two sizes; one of them cannot be read."""
    random = np.random.default_rng(0)
    for name, size in (("cat", (30, 20)), ("dog", (40, 24))):
        (tmp_path / "animals" / name).mkdir(parents=True)
        for index in range(3):
            pixels = random.integers(0, 256, (size[1], size[0], 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "animals" / name / f"{index}.png")
    (tmp_path / "animals" / "dog" / "9.png").write_bytes(b"no image")
    return tmp_path / "animals"


def test_alone_it_lists_the_named_sets_and_where_they_are(
    run_modelpad: Any, tmp_path: Path
) -> None:
    (tmp_path / "data" / "wikipedia").mkdir(parents=True)
    (tmp_path / "data" / "wikipedia" / "leads.jsonl.gz").touch()
    places = {"MODELPAD_DATA": str(tmp_path / "data"), "MODELPAD_CACHE": str(tmp_path / "cache")}
    done = run_modelpad("data", **places)
    assert done.returncode == 0, done.stderr
    assert f"in {tmp_path / 'data' / 'wikipedia'}" in done.stdout
    assert "not here; downloaded on first use, 11.6 MB" in done.stdout
    assert "not here; put train/CLASS/*.jpg" in done.stdout
    facts = json.loads(run_modelpad("data", "--json", **places).stdout)
    names = [
        "ants-bees",
        "flowers",
        "imdb",
        "mnist",
        "uci-digits",
        "wikipedia",
        "wikitext-103",
        "xray",
    ]
    assert list(facts) == names
    assert facts["mnist"]["folder"] is None
    assert facts["wikipedia"]["folder"] == str(tmp_path / "data" / "wikipedia")


def test_a_folder_of_images_is_described(run_modelpad: Any, tmp_path: Path, folder: Path) -> None:
    done = run_modelpad("data", str(folder))
    assert done.returncode == 1
    assert "9.png" in done.stderr
    done = run_modelpad("data", str(folder), "--skip-unreadable", "--sheet", "sheet.png")
    assert done.returncode == 0, done.stderr
    assert "train: 6 images, 30 to 40 wide, 20 to 24 high, RGB" in done.stdout
    assert "cat 3, dog 3" in done.stdout
    assert "skipped: dog/9.png (not an image)" in done.stdout
    assert "7 files" in done.stdout
    assert "MB" not in done.stdout + done.stderr
    assert done.stderr == ""
    assert (tmp_path / "sheet.png").is_file()
    assert f"Next: modelpad train images {folder}\n" in done.stdout
    (folder / "dog" / "9.png").unlink()
    folder.rename(folder.with_name("digits"))
    done = run_modelpad("data", "digits/")
    assert "Next: modelpad train images digits/ --name my-digits\n" in done.stdout
    folder.with_name("digits").rename(folder)
    (folder / "dog" / "9.png").write_text("text")
    facts = json.loads(run_modelpad("data", str(folder), "--skip-unreadable", "--json").stdout)
    assert facts["counts"] == {"train": 6}
    assert facts["input"]["train"] == {
        "kind": "image", "height": None, "width": None, "channels": 3,
    }  # fmt: skip
    assert facts["disk_bytes"] == sum(path.stat().st_size for path in folder.rglob("*.png"))
    assert len(facts["sha256"]) == 64


def test_a_table_is_described_and_has_no_sheet(run_modelpad: Any, tmp_path: Path) -> None:
    (tmp_path / "reviews.csv").write_text("text,stars\ngood,4.5\nbad,1\n")
    done = run_modelpad("data", "reviews.csv", "--target-column", "stars", "--task", "regression")
    assert done.returncode == 0, done.stderr
    assert "train: 2 texts" in done.stdout
    assert "stars: from 1 to 4.5" in done.stdout
    assert not list(tmp_path.glob("*.png"))
    done = run_modelpad("data", "reviews.csv", "--target-column", "stars")
    assert done.returncode == 1
    assert "--task" in done.stderr
    done = run_modelpad("data", "reviews.csv", "--sheet", "sheet.png")
    assert done.returncode == 2
    assert "texts" in done.stderr


def test_an_archive_is_unpacked_with_a_line_at_start_and_end(
    run_modelpad: Any, tmp_path: Path, folder: Path
) -> None:
    (folder / "dog" / "9.png").unlink()
    zipped = shutil.make_archive(str(tmp_path / "pets"), "zip", folder)
    cache = {"MODELPAD_CACHE": str(tmp_path / "cache")}
    done = run_modelpad("data", zipped, **cache)
    assert done.stderr.startswith("Unpacking pets.zip (")
    archive = shutil.make_archive(str(tmp_path / "zoo"), "gztar", folder)
    done = run_modelpad("data", archive, **cache)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0] == "Unpacking zoo.tar.gz"
    assert done.stderr.splitlines()[1].startswith("Unpacked zoo.tar.gz: ")
    assert len(done.stderr.splitlines()) == 2
    done = run_modelpad("data", archive, "--sha256", "00" * 32, **cache)
    assert done.returncode == 1
    assert "SHA-256" in done.stderr


@pytest.mark.slow
@pytest.mark.long
def test_data_shows_what_is_in_a_set_and_draws_it(run_modelpad: Any, tmp_path: Path) -> None:
    done = run_modelpad("data", "uci-digits", "--sheet", "pictures/sheet.png")
    assert done.returncode == 0, done.stderr
    assert "CC BY 4.0" in done.stdout
    assert (tmp_path / "pictures" / "sheet.png").read_bytes().startswith(b"\x89PNG")
    facts = json.loads(run_modelpad("data", "uci-digits", "--json").stdout)
    assert sum(sum(counts.values()) for counts in facts["splits"].values()) == 1797


def test_data_that_is_not_there_says_what_there_is(run_modelpad: Any) -> None:
    done = run_modelpad("data", "mnits")
    assert done.returncode == 1
    assert "mnist" in done.stderr
