"""`modelpad completion`, in real shells on a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from modelpad.bundle import Bundle
from modelpad.cli.candidates import find_candidates
from modelpad.cli.completion import SCRIPTS, join_broken, write_candidates
from modelpad.store import LocalStore

STARTS = {
    "bash": ["--norc", "--noprofile", "-i"],
    "zsh": ["-f", "-i"],
    "fish": ["--no-config"],
}


@pytest.fixture
def variables(digits: Bundle, tmp_path: Path) -> dict[str, str]:
    """The environment with two versions of `drawings` in the store, and `modelpad` on the PATH."""
    store = LocalStore(tmp_path / "store")
    store.push(digits, "drawings")
    store.push(digits, "drawings")
    store.set_alias("drawings", "production", 1)
    command = tmp_path / "bin" / "modelpad"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m modelpad "$@"\n')
    command.chmod(0o755)
    path = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
    own = {"PATH": path, "MODELPAD_STORE": str(store.root), "TERM": "xterm", "HOME": str(tmp_path)}
    return dict(os.environ) | own


def find(variables: dict[str, str], *words: str) -> list[str]:
    return [word for word, _ in find_candidates(words, variables)]


def test_names_come_from_parsers_store_and_registries(variables: dict[str, str]) -> None:
    assert find(variables, "pre") == ["predict"]
    assert find(variables, "predict", "d") == ["digits", "drawings"]
    assert find(variables, "models", "rollback", "") == ["drawings"]
    assert find(variables, "models", "alias", "drawings", "p") == ["production"]
    assert find(variables, "predict", "drawings@") == [
        "drawings@production", "drawings@latest", "drawings@2", "drawings@1",
    ]  # fmt: skip
    assert find(variables, "train", "wr") == ["writer"]
    assert find(variables, "train", "digits", "--data", "") == ["mnist", "uci-digits"]
    assert find(variables, "train", "digits", "--limit", "5", "--arch=m") == [
        "--arch=mini", "--arch=mlp",
    ]  # fmt: skip
    assert find(variables, "serve", "--tls") == ["--tls-cert", "--tls-key"]
    assert find(variables, "predict", "digits", "--seed", "") == []
    assert find(variables, "nonsense", "") == []


def test_bash_gets_what_follows_a_break() -> None:
    assert join_broken(["predict", "digits", "@", "2"]) == ["predict", "digits@2"]
    assert join_broken(["train", "digits", "--arch", "=", ""]) == ["train", "digits", "--arch="]
    assert write_candidates("bash", [("digits@2", "")], "digits@") == ["2"]
    assert write_candidates("zsh", [("a:b", "words")], "") == [r"a\:b:words"]


@pytest.mark.parametrize("shell", SCRIPTS)
def test_tab_completes_in_a_real_shell(shell: str, variables: dict[str, str]) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    if shell == "fish":
        line = "modelpad completion fish | source; complete -C 'modelpad predict draw'"
        done = subprocess.run(
            [program, "--no-config", "-c", line],
            capture_output=True, text=True, env=variables, timeout=120, check=True,
        )  # fmt: skip
        assert "drawings" in done.stdout.split()
        return
    with Terminal([program, *STARTS[shell]], variables) as terminal:
        if shell == "zsh":
            terminal.send("autoload -Uz compinit; compinit -u -D\n")
        terminal.send(f"source <(modelpad completion {shell}); echo rea''dy\n")
        terminal.read_until("ready")
        terminal.send("modelpad predict draw\t")
        terminal.read_until("drawings")
        terminal.send("\x15modelpad predict drawings@pro\t")  # Ctrl-U clears the line
        terminal.read_until("duction")
        terminal.send("--qua\t")
        terminal.read_until("lity")


class Terminal:
    """A program on a pseudo-terminal."""

    def __init__(self, command: list[str], variables: dict[str, str]) -> None:
        self._own, self._other = pty.openpty()
        self._process = subprocess.Popen(
            command, stdin=self._other, stdout=self._other, stderr=self._other, env=variables,
            start_new_session=True,
        )  # fmt: skip
        self._text = ""

    def send(self, text: str) -> None:
        """Types."""
        os.write(self._own, text.encode())

    def read_until(self, wanted: str, seconds: float = 120) -> None:
        """Waits for a text, and forgets what came before."""
        end = time.monotonic() + seconds
        while wanted not in self._text:
            left = end - time.monotonic()
            assert left > 0, f"{wanted!r} did not come: {self._text!r}"
            if select.select([self._own], [], [], left)[0]:
                self._text += os.read(self._own, 4096).decode(errors="replace")
        self._text = self._text.partition(wanted)[2]

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *error: Any) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._own)
        os.close(self._other)
