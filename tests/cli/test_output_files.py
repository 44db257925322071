"""Where commands write: files that are replaced once complete, and what cannot be replaced."""

from __future__ import annotations

import os
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelpad.cli.output_files import check_parent, open_output
from modelpad.errors import UsageError


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no FIFOs in folders")
def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_text)
        with open_output(str(pipe)) as out:
            out.write("a,b\n")
        assert stat.S_ISFIFO(pipe.stat().st_mode)
        assert read.result() == "a,b\n"


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_a_link_is_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "kept" / "rows.csv", tmp_path / "rows.csv"
    target.parent.mkdir()
    target.write_text("old\n")
    link.symlink_to(Path("kept", "rows.csv"))
    with open_output(str(link)) as out:
        out.write("new\n")
    assert link.is_symlink()
    assert target.read_text() == "new\n"
    assert [*target.parent.iterdir()] == [target]


def test_a_dash_is_standard_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_output("-") as out:
        out.write("a,b\n")
    assert capsys.readouterr().out == "a,b\n"
    assert not [*tmp_path.iterdir()]


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    place = str(tmp_path / "missing" / "rows.csv")
    with pytest.raises(UsageError, match="There is no folder"):
        check_parent(Path(place))
    with pytest.raises(UsageError, match="cannot be written"), open_output(place):
        pass
