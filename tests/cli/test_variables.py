"""Variables are defaults of the options of `serve`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelpad.cli.main import build_parser
from modelpad.cli.serve_options import read_options
from modelpad.cli.settings import VARIABLES
from modelpad.cli.variables import EXCLUDED, name_variable
from modelpad.errors import UsageError
from modelpad.server.options import MB, ServeOptions


def read(*arguments: str, **variables: str) -> ServeOptions:
    args = build_parser(["serve"], variables).parse_args(["serve", *arguments])
    return read_options(args, variables)


def list_options() -> list[argparse.Action]:
    return [
        action
        for action in build_parser(["serve"]).parse_args(["serve"]).parser._actions
        if action.dest not in EXCLUDED
    ]


def test_every_option_of_serve_has_a_variable() -> None:
    assert {name_variable(action.dest) for action in list_options()} <= set(VARIABLES)
    assert len(list_options()) > 20


def test_variables_are_read() -> None:
    options = read(
        MODELPAD_MODELS="digits, cats@2",
        MODELPAD_HOST="0.0.0.0",
        MODELPAD_PORT="9000",
        MODELPAD_GRPC_PORT="9001",
        MODELPAD_DEVICE="auto",
        MODELPAD_TIMEOUT="2.5",
        MODELPAD_MAX_BODY_MB="8",
        MODELPAD_WORKERS="1",
        MODELPAD_LOG_REQUESTS="true",
        MODELPAD_CORS_ORIGINS="https://a.example,https://b.example",
        MODELPAD_API_KEYS_FILE="/run/secrets/keys",
        MODELPAD_ADMINS="ann",
    )
    assert options.models.names == ("digits", "cats@2")
    assert options.models.device == "auto"
    assert (options.network.host, options.network.port, options.network.grpc_port) == (
        "0.0.0.0",
        9000,
        9001,
    )
    assert (options.limits.timeout_s, options.limits.max_body_bytes) == (2.5, 8 * MB)
    assert options.workers.count == 1
    assert options.log_requests
    assert options.security.cors_origins == ("https://a.example", "https://b.example")
    assert options.security.api_key_file == Path("/run/secrets/keys")
    assert options.security.admins == ("ann",)


def test_arguments_come_first() -> None:
    options = read(
        *("cats", "--host", "127.0.0.1", "--timeout", "30"),
        MODELPAD_MODELS="digits",
        MODELPAD_HOST="0.0.0.0",
        MODELPAD_TIMEOUT="2.5",
    )
    assert options.models.names == ("cats",)
    assert (options.network.host, options.limits.timeout_s) == ("127.0.0.1", 30.0)


def test_a_port_of_modelpad_comes_before_those_of_platforms() -> None:
    assert read(MODELPAD_PORT="1", AIP_HTTP_PORT="2", PORT="3").network.port == 1


def test_empty_variables_are_ignored() -> None:
    assert read(MODELPAD_HOST="", MODELPAD_WORKERS=" ") == read()


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("MODELPAD_TIMEOUT", "soon", "above 0"),
        ("MODELPAD_PORT", "99999", "0 to 65535"),
        ("MODELPAD_DEVICE", "gpu", "cuda"),
        ("MODELPAD_LOG_REQUESTS", "maybe", "true or false"),
    ],
)
def test_a_wrong_value_names_its_variable(name: str, text: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(**{name: text})
    assert caught.value.message == f"{name} is {text!r}."
    assert hint in caught.value.hint


def test_the_server_reads_them(serve: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """As a platform starts it: `IMAGE serve`."""
    monkeypatch.setenv("MODELPAD_HOST", "0.0.0.0")
    monkeypatch.setenv("MODELPAD_MODELS", "digits")
    running = serve(store=tmp_path)
    other_address = running.url.replace("127.0.0.1", "127.0.0.2")
    assert httpx.get(f"{other_address}/ping").status_code == 200
