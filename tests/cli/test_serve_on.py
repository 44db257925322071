"""`modelpad serve --on`: what is refused before a cluster is needed. See tests/cluster."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from modelpad.cli.main import main


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--replicas", "4:1"], "--replicas '4:1' is not MIN:MAX"),
        (["--replicas", "0:2"], "--replicas '0:2' is not MIN:MAX"),
        (["--replicas", "two"], "--replicas 'two' is not MIN:MAX"),
        (["--workers", "2"], "--workers does not work with --on"),
        (["--grpc-port", "8081"], "--grpc-port does not work with --on"),
        (["--rate-limit", "5"], "--rate-limit does not work with --on"),
    ],
)
def test_invalid_options_are_refused(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "digits", "--on", "local", *options]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_ray_is_an_extra(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "digits", "--on", "local"]) == 1
    assert "ray is not installed" in capsys.readouterr().err
