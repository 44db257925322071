"""The command line as a process: exit codes, words, and JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelpad.bundle import Bundle
from modelpad.cli.main import COMMANDS


@pytest.fixture
def seven(digits: Bundle) -> str:
    return str(digits.path("samples/7.png"))


def test_predict_answers_a_line_a_file(run_modelpad: Any, digits: Bundle) -> None:
    files = [str(digits.path(f"samples/{number}.png")) for number in range(3)]
    done = run_modelpad("predict", "digits", *files)
    assert done.returncode == 0
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == files
    assert [line[1] for line in lines] == ["0", "1", "2"]
    assert all(line[3] == "%" for line in lines)


def test_predict_json_has_all_scores(run_modelpad: Any, seven: str) -> None:
    answer = json.loads(run_modelpad("predict", "digits", seven, "--json").stdout)
    assert answer["label"] == "7"
    assert len(answer["scores"]) == 10


def test_predict_goes_on_after_a_bad_file(run_modelpad: Any, seven: str, tmp_path: Path) -> None:
    (tmp_path / "no.png").write_text("text")
    done = run_modelpad("predict", "digits", "no.png", "missing.png", seven)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1
    assert "no.png" in done.stderr
    assert "missing.png" in done.stderr


@pytest.mark.parametrize(
    "arguments", [[], ["nonsense"], ["train"], ["train", "digits", "--arch", "x"]]
)
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
def test_help_has_an_example(run_modelpad: Any, command: str) -> None:
    done = run_modelpad(command, "--help")
    assert done.returncode == 0
    assert f"modelpad {command}" in done.stdout
    assert "example" in done.stdout


def test_a_corrupt_bundle_is_not_served(run_modelpad: Any, digits: Bundle, tmp_path: Path) -> None:
    assert run_modelpad("models", "push", str(digits.folder)).returncode == 0
    graph = tmp_path / "store" / "digits" / "1" / "model.onnx"
    body = bytearray(graph.read_bytes())
    body[50] ^= 1
    graph.write_bytes(body)
    for command in (["serve", "digits", "--port", "0"], ["models", "verify"]):
        done = run_modelpad(*command)
        assert done.returncode == 1
        assert "model.onnx" in done.stdout + done.stderr


def test_models_lists_shows_and_rolls_back(run_modelpad: Any, digits: Bundle) -> None:
    assert "empty" in run_modelpad("models").stdout
    for _ in range(2):
        assert run_modelpad("models", "push", str(digits.folder)).returncode == 0
    listed = json.loads(run_modelpad("models", "--json").stdout)["models"]
    assert [row["version"] for row in listed] == [1, 2]
    assert "test accuracy" in run_modelpad("models", "list").stdout
    assert [row["traffic"] for row in listed] == [0, 100]
    assert run_modelpad("models", "traffic", "digits", "1=75", "2=25").returncode == 0
    assert run_modelpad("models", "shadow", "digits", "2").returncode == 0
    lines = run_modelpad("models").stdout.splitlines()
    assert "  75 %  " in lines[1]
    assert "  25 %, shadow  " in lines[2]
    assert run_modelpad("models", "alias", "digits", "production", "2").returncode == 0
    assert "version 1" in run_modelpad("models", "rollback", "digits").stdout
    assert "version 1" in run_modelpad("models", "show", "digits").stdout
    assert run_modelpad("models", "pull", "digits@2", "copy").returncode == 0
    assert run_modelpad("models", "pull", "digits@2", "copy").returncode == 1
    assert run_modelpad("predict", "./copy", str(digits.path("samples/7.png"))).returncode == 0
    assert run_modelpad("models", "remove", "digits@2").returncode == 0
    assert run_modelpad("models", "show", "digits@2").returncode == 1


def test_an_unwritable_store_stops_a_training_at_once(run_modelpad: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run_modelpad("train", "digits", "--store", str(tmp_path / "file" / "store"))
    assert done.returncode == 1
    assert "cannot be written" in done.stderr


@pytest.mark.slow
def test_data_shows_what_is_in_a_set_and_draws_it(run_modelpad: Any, tmp_path: Path) -> None:
    done = run_modelpad("data", "uci-digits", "--sheet", "pictures/sheet.png")
    assert done.returncode == 0, done.stderr
    assert "CC BY 4.0" in done.stdout
    assert (tmp_path / "pictures" / "sheet.png").read_bytes().startswith(b"\x89PNG")
    facts = json.loads(run_modelpad("data", "uci-digits", "--json").stdout)
    assert sum(sum(counts.values()) for counts in facts["splits"].values()) == 1797


def test_data_that_is_not_there_says_what_there_is(run_modelpad: Any) -> None:
    done = run_modelpad("data", "mnits")
    assert done.returncode == 1
    assert "mnist" in done.stderr


def test_doctor_finds_this_machine_well(run_modelpad: Any) -> None:
    done = run_modelpad("doctor", "--json")
    assert done.returncode == 0, done.stdout
    assert all(row["state"] != "bad" for row in json.loads(done.stdout)["findings"])
