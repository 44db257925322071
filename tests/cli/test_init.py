"""`modelpad init`: a project that trains at once, here and on a machine in the cloud."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modelpad.cli.main import build_parser
from modelpad.deploy.starter import Project, write_project
from modelpad.recipes import RECIPES
from modelpad.store import LocalStore

PACKAGE = Path(__file__).parents[2] / "src"
# Stand-ins for SkyPilot and for the machine's SSH: the machine is the folder $VM_FOLDER.
SKY = """#!/bin/sh -e
echo "sky $*" >> "$VM_FOLDER/log"
mkdir -p "$VM_FOLDER/sky_workdir" && cp -r . "$VM_FOLDER/sky_workdir"
test "$1" = exec || exit 0
cd "$VM_FOLDER/sky_workdir"
HOME="$VM_FOLDER" TRAIN=1 sh -ec "$(sed -n '/^run:/,$p' "$3" | tail -n +2)"
"""
SSH = """#!/bin/sh -e
echo "ssh $*" >> "$VM_FOLDER/log"
test "$1" = -t || (cd "$VM_FOLDER" && sh -c "$2")
"""
TRAIN = """
import os
from pathlib import Path
from modelpad.bundle import open_bundle
from modelpad.store import LocalStore
from modelpad.zoo import zoo_bundles
LocalStore(Path(os.environ["MODELPAD_STORE"])).push(open_bundle(zoo_bundles()["digits"]), "mine")
"""


def make(folder: Path, target: str, *words: str, **variables: str) -> str:
    """Runs `make`, and gives its output. The tests may be run by another `make`."""
    outside = {name: word for name, word in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", f"PYTHON={sys.executable}", target, *words],
        cwd=folder,
        env=outside | {"PYTHONPATH": str(PACKAGE)} | variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.long
def test_a_new_project_trains_and_passes_its_test(run_modelpad: Any, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    done = run_modelpad("init", "shapes")
    assert "Next: cd shapes && make train && make serve" in done.stdout
    folder, alone = tmp_path / "shapes", {"OMP_NUM_THREADS": "1"}
    assert "Saved as shapes version 1." in make(folder, "train", "EPOCHS=5", **alone)
    assert "1 passed" in make(folder, "test", **alone)
    assert LocalStore(folder / "models").versions("shapes") == [1]


def test_nothing_is_overwritten(run_modelpad: Any, tmp_path: Path) -> None:
    folder = tmp_path / "my project"
    (folder / "data").mkdir(parents=True)
    (folder / "train.py").write_text("mine")
    first = json.loads(run_modelpad("init", str(folder), "--json").stdout)
    assert first["name"] == "my-project"
    assert (folder / "train.py").read_text() == "mine"
    assert [*(folder / "data").iterdir()] == []
    (folder / "Makefile").write_text("mine")
    again = json.loads(run_modelpad("init", str(folder), "--json").stdout)
    assert again["written"] == []
    assert {"Makefile", "train.py"} <= {*again["kept"]}
    assert (folder / "Makefile").read_text() == "mine"


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_project_trains_by_any_recipe(tmp_path: Path, recipe: str) -> None:
    written, _ = write_project(Project("mine", recipe), tmp_path)
    assert "train.py" not in written
    line = make(tmp_path, "train-here", "--dry-run", "EPOCHS=3")
    words = shlex.split(line)[5:]
    args = build_parser(words).parse_args(words)
    assert (args.recipe.name, args.name, args.epochs) == (recipe, "mine", 3)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("x", "--recipe", "image"), "Did you mean images?"),
        (("x", "--name", "a/b"), "Use ASCII letters"),
        (("file",), "Give the path of a folder."),
    ],
)
def test_wrong_usage_writes_nothing(
    run_modelpad: Any, tmp_path: Path, words: tuple[str, ...], hint: str
) -> None:
    (tmp_path / "file").write_text("")
    done = run_modelpad("init", *words)
    assert done.returncode == 2
    assert hint in done.stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_a_machine_trains_and_its_version_comes_home(run_modelpad: Any, tmp_path: Path) -> None:
    machine, tools, folder = (tmp_path / name for name in ("machine", "tools", "mine"))
    (machine / "modelpad" / "bin").mkdir(parents=True)
    tools.mkdir()
    python = f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'
    programs = {tools / "sky": SKY, tools / "ssh": SSH, machine / "modelpad/bin/python": python}
    for path, text in programs.items():
        path.write_text(text)
        path.chmod(0o755)
    variables = {"VM_FOLDER": str(machine), "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    assert run_modelpad("init", "mine").returncode == 0

    make(folder, "vm", **variables)
    assert "[train]" in (folder / "vm" / "machine.yaml").read_text()
    assert [*(folder / "vm").glob("*.whl")]
    make(folder, "train", "EPOCHS=2", **variables)
    assert LocalStore(folder / "models").versions("mine") == [1]
    make(folder, "lab", **variables)
    make(folder, "stop", **variables)
    log = (machine / "log").read_text()
    assert log.startswith("sky launch --yes --cluster mine-machine --idle-minutes-to-autostop 60")
    assert "ssh -t -L 8888:127.0.0.1:8888 mine-machine ~/modelpad/bin/jupyter lab" in log
    assert log.endswith("sky stop --yes mine-machine\n")
    with pytest.raises(AssertionError, match="There is no machine"):
        make(folder, "lab", **variables)


def test_skypilot_accepts_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sky = pytest.importorskip("sky")
    write_project(Project("mine"), tmp_path)
    monkeypatch.chdir(tmp_path)
    task = sky.Task.from_yaml("vm/machine.yaml")
    assert task.envs == {"TRAIN": "", "EPOCHS": ""}
