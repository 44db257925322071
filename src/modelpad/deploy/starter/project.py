"""The files of a new project, from the templates beside this module.

In a template, `@NAME@` and other words in capitals stand for what belongs to the project.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelpad.deploy.starter.drawings import draw_all
from modelpad.deploy.starter.machine import write_machine
from modelpad.errors import StoreError, UsageError
from modelpad.recipes import load_recipe

TEMPLATES = Path(__file__).with_name("templates")
DATA = "data"
CLASSIFIERS = frozenset({"digits", "images"})  # recipes that can learn the drawings
WORD = re.compile(r"@([A-Z]+)@")
SHARED = {
    "Makefile": "Makefile",
    "README.md": "README.md",
    "modelpad.toml": "modelpad.toml",
    "requirements.txt": "requirements.txt",
    ".gitignore": "gitignore",
    ".skyignore": "skyignore",
}


@dataclass(frozen=True, slots=True)
class Project:
    """A project for the model `name`, trained by a `recipe` or, without one, by a script."""

    name: str
    recipe: str = ""

    def files(self) -> dict[str, bytes]:
        """All files by path, the data included. Raises `UsageError` for an unknown recipe."""
        draws = not self.recipe or self.recipe in CLASSIFIERS
        written = SHARED | ({} if self.recipe else {"train.py": "train.py.template"})
        tests = "test_drawings.py.template" if draws else "test_samples.py.template"
        written["tests/test_model.py"] = tests
        files = {path: self._fill(template) for path, template in written.items()}
        files["vm/machine.yaml"] = write_machine(self.name)
        return files | (draw_all(DATA) if draws else {f"{DATA}/.gitkeep": b""})

    def train_command(self) -> str:
        """What `make train` runs, below `$(PYTHON)`."""
        if not self.recipe:
            return "train.py"
        recipe = load_recipe(self.recipe)
        data = DATA if self.recipe in CLASSIFIERS else recipe.data_sets[0]
        epochs = "$(if $(EPOCHS),--epochs $(EPOCHS))"
        return f"-m modelpad train {self.recipe} {data} --name {shlex.quote(self.name)} {epochs}"

    def _fill(self, template: str) -> bytes:
        words: Mapping[str, str] = {
            "NAME": self.name,
            "TRAIN": self.train_command(),
            "WHAT": f"the recipe {self.recipe}" if self.recipe else "train.py",
        }
        text = (TEMPLATES / template).read_text("utf-8")
        return WORD.sub(lambda found: words[found[1]], text).encode("utf-8")


def write_project(project: Project, folder: Path) -> tuple[list[str], list[str]]:
    """Writes a project; returns the paths of the files that were written, and of those kept.

    A file that exists is kept as it is, and so is a data folder with all that is in it.

    Raises:
        UsageError: there is no such recipe, or `folder` is a file.
        StoreError: the folder cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file.", hint="Give the path of a folder.")
    has_data = (folder / DATA).exists()
    written, kept = [], []
    try:
        for name, body in project.files().items():
            path = folder / name
            if path.exists() or (has_data and name.startswith(f"{DATA}/")):
                kept.append(name)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(body)
            written.append(name)
    except OSError as error:
        raise StoreError(
            f"{error.filename or folder} cannot be written: {error.strerror}.",
            hint="Check permissions and free space, or choose another folder.",
        ) from error
    return written, kept
