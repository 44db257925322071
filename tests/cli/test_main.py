"""What all commands share: exit codes, hints and `--help`."""

from __future__ import annotations

from typing import Any

import pytest

from modelpad.cli.main import COMMANDS


def test_without_a_command_help_is_printed(run_modelpad: Any) -> None:
    done = run_modelpad()
    assert done.returncode == 0
    assert "modelpad serve digits" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["serv"], "serve"),
        (["train", "digts"], "digits"),
        (["train", "digits", "--arch", "mlpp"], "mlp"),
        (["models", "lst"], "list"),
    ],
)
def test_the_nearest_name_is_suggested(
    run_modelpad: Any, arguments: list[str], nearest: str
) -> None:
    done = run_modelpad(*arguments)
    assert done.returncode == 2
    assert f"Did you mean {nearest}?" in done.stderr


@pytest.mark.parametrize("arguments", [["nonsense"], ["train"], ["train", "digits", "--arch", "x"]])
def test_wrong_usage_is_two(run_modelpad: Any, arguments: list[str]) -> None:
    done = run_modelpad(*arguments)
    assert done.returncode == 2
    assert "--help" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_option_names_the_nearest(run_modelpad: Any) -> None:
    done = run_modelpad("train", "digits", "--epoch-s", "3")
    assert done.returncode == 2
    assert "--epochs" in done.stderr
    assert "modelpad train digits --help" in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_fits_the_terminal(run_modelpad: Any, command: str) -> None:
    done = run_modelpad(command, "--help", COLUMNS="60")
    assert done.returncode == 0
    assert f"modelpad {command}" in done.stdout
    assert "example" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 60
