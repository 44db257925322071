"""`modelpad recipes`, and that listing and helping load no framework."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from modelpad.cli.main import main
from modelpad.recipes import RECIPES, load_recipe
from modelpad.training.options import read_flags


def test_recipes_are_listed(run_modelpad: Any) -> None:
    done = run_modelpad("recipes")
    assert done.returncode == 0
    assert "digits  handwritten digits" in done.stdout
    # The path in the command is relative to the working folder, which is another one there.
    assert re.search(r"needs  .*install .*\[train\]'\n", done.stdout)
    recipes = json.loads(run_modelpad("recipes", "--json").stdout)["recipes"]
    assert all(set(each) == {"name", "summary", "data_sets", "extra"} for each in recipes)
    assert [each["name"] for each in recipes] == list(RECIPES)


def test_an_unknown_recipe_is_wrong_usage(run_modelpad: Any) -> None:
    done = run_modelpad("train", "digitz")
    assert done.returncode == 2
    assert "digits" in done.stderr


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_helps(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["train", name, "--help"])
    assert stopped.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for flag in read_flags(load_recipe(name).options):
        assert " ".join(flag.help.split()) in shown


@pytest.mark.parametrize("words", [["recipes"], ["train", "--help"], ["train", "digits", "--help"]])
def test_no_framework_is_loaded_to_list_or_to_help(words: list[str]) -> None:
    code = (
        "import sys\nfrom modelpad.cli.main import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit:\n    pass\n"
        "print('LOADED', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.partition("LOADED")[2].split()
    assert not {"torch", "keras", "sklearn", "matplotlib", "tensorboard", "numpy"} & set(loaded)
