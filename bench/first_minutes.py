"""Five tasks of a new user, from a fresh clone and a fresh environment, with the README's words.

`prediction`: the first one; `keras`: an own Keras model on a page; `pictures`: own ones, trained
and on a page (needs MODELPAD_DATA with ants-bees/); `container`: an image, run, on a page (needs a
Docker daemon or Podman); `notebook`: a cell that predicts and shows the page. Each starts with
`git clone` in an empty home folder; pip keeps its cache, unless PIP_NO_CACHE_DIR=1. What the new
user brings along, such as the Keras model, is made between the steps and not counted.

usage: python bench/first_minutes.py [--only TASK] [--uv]
           --uv: install with uv instead of pip
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
PORT = 8474
PATIENCE_S = 60.0
TARGETS_S = {"prediction": 60, "keras": 180, "pictures": 360, "container": 300, "notebook": 120}
MODEL = """
import keras
layers = [keras.layers.Flatten(), keras.layers.Dense(64, "relu"), keras.layers.Dense(10, "softmax")]
keras.Sequential([keras.Input((28, 28, 1)), *layers]).save("my_model.keras")
"""
CELL = '''
import nbformat
from nbclient import NotebookClient
from pathlib import Path

cell = """
import modelpad
print(modelpad.load("digits")("seven.png").label)
modelpad.serve("digits")
"""
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
NotebookClient(notebook, kernel_name="python3").execute()
text = str(notebook.cells[0].outputs)
assert "7" in text and "iframe" in text, text
'''


class NewUser:
    """An empty home folder, a clone, and the seconds of each step there."""

    def __init__(self, folder: Path, *, uv: bool) -> None:
        self.folder, self.clone, self.uv = folder, folder / "modelpad", uv
        self.steps: dict[str, float] = {}
        bin_folder = self.clone / ".venv" / ("Scripts" if os.name == "nt" else "bin")
        cache = subprocess.check_output([sys.executable, "-m", "pip", "cache", "dir"], text=True)
        ours = {"PYTHONPATH", "VIRTUAL_ENV", "MODELPAD_STORE"}
        self.environment = {name: value for name, value in os.environ.items() if name not in ours}
        self.environment |= {"HOME": str(folder), "PIP_CACHE_DIR": cache.strip()}
        self.environment |= {"PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}

    def run(self, *command: str, where: Path | None = None) -> None:
        """Runs a command in the clone. Raises `SystemExit` with its output if it fails."""
        done = subprocess.run(
            [shutil.which(command[0], path=self.environment["PATH"]) or command[0], *command[1:]],
            cwd=where or self.clone,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stdout[-3000:]}")

    def step(self, *command: str, where: Path | None = None, words: str | None = None) -> None:
        """Runs a command that counts."""
        begin = time.perf_counter()
        self.run(*command, where=where)
        self.note(words or " ".join(command), begin)

    def note(self, step: str, begin: float) -> None:
        self.steps[step] = round(time.perf_counter() - begin, 1)
        print(f"{self.steps[step]:7.1f} s  {step}", file=sys.stderr)

    def install(self, *what: str) -> None:
        """Clones the repository, and installs these into an environment."""
        clone = ("git", "clone", "--quiet", str(ROOT), str(self.clone))
        self.step(*clone, where=self.folder, words="git clone")
        if self.uv:
            self.step("uv", "venv", "--quiet", "--python", sys.executable, words="uv venv")
            self.step("uv", "pip", "install", "--quiet", *what)
        else:
            self.step(sys.executable, "-m", "venv", ".venv", words="python3 -m venv .venv")
            self.step("pip", "install", "--quiet", *what)

    def see_page(self, name: str, *command: str) -> None:
        """Starts a server, waits until its page has this model, and stops it."""
        begin = time.perf_counter()
        with tempfile.TemporaryFile() as log:
            program = shutil.which(command[0], path=self.environment["PATH"]) or command[0]
            server = subprocess.Popen(
                [program, *command[1:]],
                cwd=self.clone,
                env=self.environment | {"PORT": str(PORT)},
                stdout=log,
                stderr=log,
            )
            try:
                while name not in _read(f"http://127.0.0.1:{PORT}/models"):
                    if server.poll() is not None or time.perf_counter() - begin > PATIENCE_S:
                        log.seek(0)
                        raise SystemExit(f"No page of {name}: {log.read().decode()[-3000:]}")
                    time.sleep(0.02)
                assert "modelpad" in _read(f"http://127.0.0.1:{PORT}/")
                self.note(" ".join(command), begin)
            finally:
                server.terminate()
                server.wait()


def _read(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return str(response.read().decode())
    except OSError:
        return ""


def predict(user: NewUser) -> None:
    user.install(".")
    user.step("modelpad", "samples", ".")
    user.step("modelpad", "predict", "digits", "seven.png")


def serve_keras(user: NewUser) -> None:
    user.install(".[keras]")
    user.environment |= {"KERAS_BACKEND": "torch"}
    user.run("python", "-c", MODEL)
    user.see_page("my_model", "modelpad", "serve", "my_model.keras", "--no-open")


def train_pictures(user: NewUser) -> None:
    folders = os.environ.get("MODELPAD_DATA", "").split(os.pathsep)
    pictures = next((f for each in folders if (f := Path(each) / "ants-bees").is_dir()), None)
    if not pictures:
        raise SystemExit("pictures needs ants-bees/ in a folder of MODELPAD_DATA.")
    user.install(".[train]")
    shutil.copytree(pictures, user.clone / "pets")
    user.step("modelpad", "train", "images", "./pets")
    user.see_page("pets", "modelpad", "serve", "pets", "--no-open")


def run_container(user: NewUser) -> None:
    engine = next((each for each in ("docker", "podman") if _answers(each)), None)
    if not engine:
        raise SystemExit("container needs a Docker daemon that answers, or Podman.")
    user.install(".")
    user.step("modelpad", "deploy", "digits", "--to", "docker", "./digits-image")
    user.step(engine, "build", "-t", "digits:1", "./digits-image")
    published = ("-p", f"{PORT}:8080", "--name", "modelpad-first-minutes", "digits:1")
    try:
        user.see_page("digits", engine, "run", "--rm", *published)
    finally:
        subprocess.run([engine, "rm", "--force", "modelpad-first-minutes"], capture_output=True)


def _answers(engine: str) -> bool:
    return (
        bool(shutil.which(engine))
        and not subprocess.run([engine, "ps"], capture_output=True).returncode
    )


def write_notebook(user: NewUser) -> None:
    user.install(".", "jupyterlab")
    user.step("modelpad", "samples", ".")
    begin = time.perf_counter()
    user.run("python", "-c", CELL)
    user.note("a cell that predicts and shows the page", begin)


TASKS: dict[str, Callable[[NewUser], None]] = {
    "prediction": predict,
    "keras": serve_keras,
    "pictures": train_pictures,
    "container": run_container,
    "notebook": write_notebook,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=TASKS)
    parser.add_argument("--uv", action="store_true", help="install with uv instead of pip")
    options = parser.parse_args()
    failed = []
    for name, task in TASKS.items():
        if options.only not in (None, name):
            continue
        with tempfile.TemporaryDirectory(prefix="first-minutes-") as folder:
            user = NewUser(Path(folder), uv=options.uv)
            try:
                task(user)
            except SystemExit as error:
                print(error, file=sys.stderr)
                failed.append(name)
                continue
            total = round(sum(user.steps.values()), 1)
        result = {"task": name, "seconds": total, "target": TARGETS_S[name], "steps": user.steps}
        print(json.dumps(result))
    if failed:
        raise SystemExit(f"Not done: {', '.join(failed)}")


if __name__ == "__main__":
    main()
