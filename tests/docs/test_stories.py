"""What the stories show is run, in order: whole in `make test-long`, in small forms where they
would train for minutes; those that need no training also in the fast suite."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from modelpad.cli.main import main

FOLDER = Path(__file__).parents[2] / "docs" / "stories"
STORIES = [path.stem for path in sorted(FOLDER.glob("*.md")) if path.stem != "index"]
WITHOUT_TRAINING = ("app-engine", "cloud-run", "language-model")
# The tools of others, up to which a story goes.
OTHERS = ("pip ", "docker ", "gcloud ", "tensorboard ", "cd ")
# What makes a command small, or lets it decide on a model that has learnt nothing.
SMALL = {
    "modelpad train digits": "--data uci-digits --arch mlp --epochs 1",
    "modelpad train digits --data uci-digits --name digits8": "--arch mlp --epochs 1",
    "modelpad train writer": "--limit 20 --general none --vocabulary 300 --width 64 --epochs 1",
    "modelpad train writer ./letters": "--general none --vocabulary 300 --width 64 --epochs 1",
    "modelpad train reviews": "--arch bow --limit 200",
    "modelpad train reviews tickets.csv": "--arch bow",
    "modelpad train style": "--limit 20 --epochs 1 --size 64 --painting-size 64",
    "modelpad style photo.jpg": "--size 64 --iterations 2",
    "modelpad train images": "--arch mini --size 32 --epochs 1 --limit 30 --no-heatmap",
    "modelpad train xray": "--arch mini --size 32 --epochs 1 --limit 20",
    "modelpad promote ants-bees": '--if "accuracy >= production - 1"',
}
COMPARED = 24  # characters at the beginning of each line, whose numbers may differ


@dataclass
class Step:
    """One block of a story: commands with what they print, or a Python program."""

    language: str
    body: str
    printed: str


def read_steps(story: str) -> list[Step]:
    text = (FOLDER / f"{story}.md").read_text("utf-8")
    pattern = r"```(sh|python)\n(.*?)```(?:\n\n```text\n(.*?)```)?"
    return [Step(*found) for found in re.findall(pattern, text, re.DOTALL)]


def shrink(command: str) -> str:
    """The command with the options of the longest beginning that `SMALL` has."""
    found = max((start for start in SMALL if command.startswith(start)), key=len, default=None)
    return f"{command} {SMALL[found]}" if found else command


@dataclass
class Player:
    """Runs steps in the working folder; a server that is started serves from then on."""

    serve: Callable[..., Any]
    store: Path
    read_output: Callable[[], str]
    url: str = "http://127.0.0.1:8080"
    small: bool = field(default=False, init=False)

    def play(self, step: Step) -> None:
        if step.language == "python":
            program = step.body.replace("http://127.0.0.1:8080", self.url)
            exec(compile(program, "story", "exec"), {})
            return
        self.small = False
        self.read_output()
        printed = "".join(self.run(line) for line in step.body.splitlines())
        if step.printed and not self.small:
            lines = iter(abridge(printed))
            assert all(line in lines for line in abridge(step.printed)), printed

    def run(self, line: str) -> str:
        """What a command prints."""
        if line.startswith(OTHERS):
            return ""
        if line.startswith("modelpad serve "):
            options = re.sub(r" --host \S+", "", line).split()[2:]
            self.url = self.serve(*options, store=self.store).url
            return ""
        if line.startswith("modelpad "):
            command = shrink(line)
            self.small = self.small or command != line
            code = main(shlex.split(command)[1:])
            output = self.read_output()
            assert code == 0, f"{command}: {output}"
            return output
        command = line.replace("http://127.0.0.1:8080", self.url)
        command = command.replace("curl ", "curl -s --fail-with-body ")
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stdout} {done.stderr}"
        return f"{done.stdout}\n" if done.stdout else ""


def abridge(text: str) -> list[str]:
    """The beginnings of lines, without their numbers."""
    return [re.sub(r"\d[\d.,]*", "N", line)[:COMPARED] for line in text.splitlines() if line]


@pytest.fixture
def player(
    tmp_path: Path,
    serve: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Player:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELPAD_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("PORT", raising=False)
    return Player(serve, tmp_path / "store", lambda: "".join(capfd.readouterr()))


@pytest.mark.parametrize("story", WITHOUT_TRAINING)
def test_a_story_without_training(story: str, player: Player) -> None:
    for step in read_steps(story):
        if step.language == "python" and find_spec("openai") is None:
            continue
        if "modelpad train" not in step.body:
            player.play(step)


@pytest.fixture
def material(tmp_path: Path, data_root: Path) -> None:
    """The data that the stories' commands name."""
    assert main(["samples", str(tmp_path)]) == 0
    shutil.copytree(data_root / "ants-bees", tmp_path / "ants-bees")
    for kind in ("ants", "bees"):
        (tmp_path / "held-out" / kind).mkdir(parents=True)
        for picture in sorted((data_root / "ants-bees" / kind).iterdir())[:8]:
            shutil.copy(picture, tmp_path / "held-out" / kind)
    (tmp_path / "paintings").symlink_to(data_root / "paintings")
    (tmp_path / "photos").symlink_to(data_root / "photos")
    (tmp_path / "letters").mkdir()
    rows = ["body,team"]
    for number in range(40):
        text = f"The printer on floor {number} is on fire."
        (tmp_path / "letters" / f"{number}.txt").write_text(text * 5)
        rows.append(f"{text},{('it', 'sales')[number % 2]}")
    (tmp_path / "tickets.csv").write_text("\n".join(rows))


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("story", STORIES)
def test_a_story(story: str, player: Player, material: None) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("openai")
    if story == "web-page":
        from modelpad.deploy.web.runtime import load_runtime
        from modelpad.errors import NotFound
        from modelpad.locations import locate_cache

        try:
            load_runtime(None, locate_cache(os.environ))
        except NotFound as error:
            pytest.skip(error.words)
    for step in read_steps(story):
        player.play(step)


def test_every_command_is_run_or_another_tool() -> None:
    known = (*OTHERS, "modelpad ", "curl ", "printf ")
    for story in STORIES:
        for step in read_steps(story):
            if step.language == "sh":
                assert all(line.startswith(known) for line in step.body.splitlines()), story
