"""The command that adds an extra is that of the install: from an index, a folder, a repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelpad.cli.main import describe_hint
from modelpad.errors import MissingExtra
from modelpad.installation import choose_installer, find_source, install_command, join_command

VCS = {"vcs": "git", "commit_id": "abc123"}


@pytest.mark.parametrize(
    ("record", "command"),
    [
        (None, "pip install 'modelpad[train]'"),
        ({"url": "file:///src/my%20pad", "dir_info": {"editable": True}},
         "pip install -e '/src/my pad[train]'"),
        ({"url": "file:///src/pad", "dir_info": {}}, "pip install '/src/pad[train]'"),
        ({"url": "https://git.example/pad.git", "vcs_info": VCS},
         "pip install 'modelpad[train] @ git+https://git.example/pad.git@abc123'"),
        ({"url": "https://git.example/pad", "vcs_info": VCS | {"requested_revision": "v1"}},
         "pip install 'modelpad[train] @ git+https://git.example/pad@v1'"),
        ({"url": "file:///w/modelpad-0.1.0.whl", "archive_info": {}},
         "pip install 'modelpad[train] @ file:///w/modelpad-0.1.0.whl'"),
        ({"url": 5, "vcs_info": []}, "pip install 'modelpad[train]'"),
    ],
)  # fmt: skip
def test_an_extra_comes_from_where_modelpad_did(record: Any, command: str) -> None:
    source, editable = find_source(None if record is None else json.dumps(record))
    assert join_command("pip install", source, "train", editable=editable) == command


def test_the_working_folder_is_a_dot(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    record = json.dumps({"url": tmp_path.as_uri(), "dir_info": {"editable": True}})
    assert find_source(record) == (".{extra}", True)


def test_uvx_takes_the_extra_with_the_command(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("sys.prefix", str(tmp_path / "uv" / "archive-v0" / "lSJP6IiDPwFIsTkL"))
    command = join_command(choose_installer(None), ".{extra}", "train")
    assert command == "uvx --from '.[train]' modelpad"


def test_errors_of_commands_have_the_command() -> None:
    assert describe_hint(MissingExtra("torch", extra="train")).endswith(install_command("train"))
