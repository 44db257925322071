"""Writing a plan's files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelpad.deploy.deployment import Plan
from modelpad.deploy.folder import measure_content, write_folder
from modelpad.deploy.locked import HEADER
from modelpad.errors import StoreError, UsageError


def make_plan(tmp_path: Path, version: int = 1) -> Plan:
    source = tmp_path / "graph"
    source.write_bytes(b"graph")
    requirements = f"{HEADER}\n".encode()
    files = {"app.yaml": b"a: 1\n", "requirements.txt": requirements}
    return Plan({**files, f"models/m/{version}/model.onnx": source}, (), "")


def test_files_are_written_or_copied(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    written = write_folder(plan, tmp_path / "out")
    assert [path.read_bytes() for path in (written[0], written[-1])] == [b"a: 1\n", b"graph"]
    assert [measure_content(content) for content in plan.files.values()] == [5, len(HEADER) + 1, 5]


def test_a_folder_in_use_is_kept(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        write_folder(make_plan(tmp_path), tmp_path / "out")
    assert os.listdir(tmp_path / "out") == ["mine"]  # noqa: PTH208


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        write_folder(make_plan(tmp_path), tmp_path / "out", replace=True)


def test_a_second_deploy_replaces_models_and_keeps_other_files(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write_folder(make_plan(tmp_path), folder)
    (folder / "mine").write_text("mine")
    write_folder(make_plan(tmp_path, version=2), folder, replace=True)
    assert [path.name for path in (folder / "models" / "m").iterdir()] == ["2"]
    assert (folder / "mine").read_text() == "mine"


@pytest.mark.parametrize("requirements", [None, "numpy\n"])
def test_models_of_the_user_are_kept(tmp_path: Path, requirements: str | None) -> None:
    own = tmp_path / "out" / "models" / "m" / "1" / "model.onnx"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    if requirements:
        (tmp_path / "out" / "requirements.txt").write_text(requirements)
    with pytest.raises(UsageError, match="models was not written by modelpad deploy"):
        write_folder(make_plan(tmp_path), tmp_path / "out", replace=True)
    assert own.read_text() == "mine"


def test_models_are_not_written_through_a_link(tmp_path: Path) -> None:
    write_folder(make_plan(tmp_path), tmp_path / "out")
    (tmp_path / "out" / "models").rename(tmp_path / "store")
    (tmp_path / "out" / "models").symlink_to(tmp_path / "store")
    with pytest.raises(UsageError, match="models was not written by modelpad deploy"):
        write_folder(make_plan(tmp_path, version=2), tmp_path / "out", replace=True)
    assert [path.name for path in (tmp_path / "store" / "m").iterdir()] == ["1"]


def test_models_that_are_deployed_are_not_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    *_, deployed = write_folder(make_plan(tmp_path), folder)
    plan = Plan({"models/m/2/model.onnx": deployed}, (), "")
    with pytest.raises(UsageError, match=r"model\.onnx is to be deployed"):
        write_folder(plan, folder, replace=True)
    assert deployed.read_bytes() == b"graph"


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((StoreError, UsageError)) as caught:
        write_folder(make_plan(tmp_path), tmp_path / "file" / "out")
    assert str(tmp_path / "file" / "out") in caught.value.message
