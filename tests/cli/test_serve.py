"""`modelpad serve` as a process: wrong usage, what it prints, and how it stops."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelpad.bundle import Bundle
from modelpad.cli.main import build_parser
from modelpad.cli.serve import describe_server, write_examples
from modelpad.server import ModelTable, ServedModel
from modelpad.server.http.sockets import Address
from modelpad.server.options import RunningServer


@pytest.mark.parametrize(
    "words",
    [
        *(
            "--rate-limit -3",
            "--memory-limit -5",
            "--poll-interval -1",
            "--shutdown-timeout -1",
            "--keep-versions 0",
            "--max-queue 0",
        ),
        *("--timeout nan", "--timeout inf", "--port 99999", "--grpc-port -1"),
    ],
)
def test_a_number_that_makes_no_sense_is_wrong_usage(run_modelpad: Any, words: str) -> None:
    done = run_modelpad("serve", "digits", *words.split())
    assert done.returncode == 2
    assert f"{words.replace(' ', ' is ')}.\n  Give " in done.stderr


@pytest.mark.parametrize("origin", ["foo", "https://a.example/", "*"])
def test_an_origin_that_no_browser_sends_is_wrong_usage(run_modelpad: Any, origin: str) -> None:
    done = run_modelpad("serve", "digits", "--cors-origin", origin)
    assert done.returncode == 2
    assert "https://example.org" in done.stderr


@pytest.mark.parametrize("variable", ["PORT", "AIP_HTTP_PORT"])
def test_a_port_that_is_none_names_its_variable(run_modelpad: Any, variable: str) -> None:
    done = run_modelpad("serve", "digits", **{variable: "abc"})
    assert done.returncode == 2
    assert f"modelpad: {variable} is 'abc'." in done.stderr


def test_one_port_is_not_for_two_protocols(run_modelpad: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    done = run_modelpad("serve", "digits", "--port", port, "--grpc-port", port)
    assert done.returncode == 2
    assert "--grpc-port" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_path_that_is_no_model_says_what_is_wrong_with_it(
    run_modelpad: Any, tmp_path: Path
) -> None:
    assert "There is no file missing/model." in run_modelpad("serve", "missing/model").stderr
    (tmp_path / "empty" / "model").mkdir(parents=True)
    done = run_modelpad("serve", "empty/model")
    assert "empty/model contains no model that is supported." in done.stderr
    assert "Looked for: a model's file (*.keras," in done.stderr


def test_an_unknown_model_is_one_and_names_the_nearest(run_modelpad: Any) -> None:
    done = run_modelpad("serve", "digitz", "--port", "0")
    assert done.returncode == 1
    assert "digits" in done.stderr


def test_a_port_in_use_is_said(run_modelpad: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run_modelpad("serve", "digits", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "in use" in done.stderr
    assert run_modelpad("serve", PORT="x").returncode == 2


def test_a_corrupt_bundle_is_not_served(run_modelpad: Any, corrupt_store: None) -> None:
    done = run_modelpad("serve", "digits", "--port", "0")
    assert done.returncode == 1
    assert "model.onnx" in done.stdout + done.stderr


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_serve_stops_cleanly(tmp_path: Path, how: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "modelpad", "serve", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"MODELPAD_STORE": str(tmp_path)},
    )
    assert process.stdout is not None
    if not any("Ctrl-C" in line for line in process.stdout):
        pytest.fail(f"the server ended: {process.communicate()[1]}")
    process.send_signal(how)
    _, errors = process.communicate(timeout=15)
    assert process.returncode == 0
    assert "Traceback" not in errors


@pytest.fixture
def table(digits: Bundle) -> Iterator[ModelTable]:
    table = ModelTable([ServedModel.load("digits", 1, digits)])
    yield table
    table.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_that_serve_prints_works(server: Any, table: ModelTable) -> None:
    (command,) = write_examples(server.url, table)
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["label"] == "0"


def test_what_is_served_and_where_is_printed(table: ModelTable) -> None:
    address = Address("0.0.0.0", 9000, tls=True)
    lines = list(describe_server(RunningServer(table, address, Address("0.0.0.0", 8081), 2)))
    assert lines[:5] == [
        "Serving digits (version 1)",
        "  page  https://127.0.0.1:9000",
        "  API   https://127.0.0.1:9000/docs",
        "  gRPC  0.0.0.0:8081",
        "  with  2 workers",
    ]
    assert lines[-1] == "  Press Ctrl-C to stop."
    alone = list(describe_server(RunningServer(table, address, None, 1)))
    assert not any("gRPC" in line or "workers" in line for line in alone)


@pytest.mark.parametrize("columns", ["60", "80", "200"])
def test_help_is_grouped_and_fits_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    with pytest.raises(SystemExit):
        build_parser(["serve"]).parse_args(["serve", "--help"])
    text = capsys.readouterr().out
    groups = ["models", "network", "security", "limits", "workers", "observability"]
    assert [line for line in text.splitlines() if line.rstrip(":") in groups] == [
        f"{group}:" for group in groups
    ]
    options = text.partition("examples:")[0].splitlines()
    assert max(len(line) for line in options) <= min(80, int(columns))
    assert max(len(line) for line in text.splitlines()) <= 80


def test_every_option_of_serve_tells_its_default() -> None:
    parser = build_parser(["serve"]).parse_args(["serve"]).parser
    optional = [each for each in parser._actions if each.option_strings and each.nargs != 0]
    untold = [each.option_strings[0] for each in optional if "default: " not in each.help]
    assert untold == ["--tls-key"]
