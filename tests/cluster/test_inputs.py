"""What is sent to a cluster for a training."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelpad.cluster import inputs as inputs_module
from modelpad.cluster.inputs import DATA_SETS, Inputs, measure, unpack
from modelpad.errors import UsageError


def write(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def list_files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_files_arrive_where_the_options_say(tmp_path: Path) -> None:
    pets = write(tmp_path / "pets", "cat/1.png", "dog/2.png")
    write(tmp_path, "loss.py")
    inputs = Inputs(are_shared=False)
    data = inputs.add_path(str(pets))
    loss = inputs.add_path(f"{tmp_path / 'loss.py'}:Loss")
    assert inputs.add_path(str(pets)) == data  # sent once
    assert inputs.add_path("flowers") == "flowers"
    unpack(inputs.pack(), tmp_path / "there")
    assert list_files(tmp_path / "there" / data) == ["cat/1.png", "dog/2.png"]
    assert loss.endswith("/loss.py:Loss")
    assert (tmp_path / "there" / loss.removesuffix(":Loss")).read_text() == "loss.py"


def test_links_become_what_they_point_at(tmp_path: Path) -> None:
    write(tmp_path, "elsewhere/1.png", "pets/dog/2.png")
    for name in ("cat", "lynx"):
        (tmp_path / "pets" / name).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "pets")
    inputs = Inputs(are_shared=False)
    data = inputs.add_path(str(tmp_path / "pets"))
    assert measure(tmp_path / "pets") == len("elsewhere/1.png") * 2 + len("pets/dog/2.png")
    unpack(inputs.pack(), tmp_path / "there")
    assert list_files(tmp_path / "there" / data) == ["cat/1.png", "dog/2.png", "lynx/1.png"]


def test_pictures_go_along_with_their_table(tmp_path: Path) -> None:
    write(tmp_path / "set", "table.csv", "pictures/1.png")
    inputs = Inputs(are_shared=False)
    table = inputs.add_path(str(tmp_path / "set" / "table.csv"), with_folder=True)
    unpack(inputs.pack(), tmp_path / "there")
    assert (tmp_path / "there" / table).is_file()
    assert ((tmp_path / "there" / table).parent / "pictures" / "1.png").is_file()


def test_a_name_of_the_catalogue_is_no_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "mnist/a.txt")
    monkeypatch.chdir(tmp_path)
    assert Inputs(are_shared=False).add_path("mnist") == "mnist"


def test_a_named_data_set_becomes_one_there(tmp_path: Path) -> None:
    write(tmp_path / "roots" / "mine", "a.txt")
    inputs = Inputs(are_shared=False)
    inputs.add_data_set("mine", [tmp_path / "nowhere", tmp_path / "roots"])
    inputs.add_data_set("unknown", [tmp_path / "roots"])
    unpack(inputs.pack(), tmp_path / "there")
    assert list_files(tmp_path / "there") == [f"{DATA_SETS}/mine/a.txt"]


def test_shared_files_are_named_and_not_sent(tmp_path: Path) -> None:
    pets = write(tmp_path / "pets", "1.png")
    inputs = Inputs(are_shared=True)
    assert inputs.add_path(str(pets)) == str(pets.resolve())
    inputs.add_data_set("pets", [tmp_path])
    unpack(inputs.pack(), tmp_path / "there")
    assert list_files(tmp_path / "there") == []


def test_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs_module, "MAX_INPUT_BYTES", 10)
    inputs = Inputs(are_shared=False)
    inputs.add_path(str(write(tmp_path / "pets", "a-long-name.png")))
    with pytest.raises(UsageError, match="too much to send") as caught:
        inputs.pack()
    assert "--shared-files" in caught.value.hint
