"""Parts that several tests use: the bundled digits, a store, a real server, real data."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

if find_spec("torch") is not None:
    os.environ.setdefault("KERAS_BACKEND", "torch")

from modelpad.bundle import Bundle, open_bundle
from modelpad.zoo import zoo_bundles


@dataclass(frozen=True)
class Server:
    """A server in a process of its own."""

    url: str
    process: subprocess.Popen[str]


@pytest.fixture(scope="session")
def digits() -> Bundle:
    return open_bundle(zoo_bundles()["digits"])


@pytest.fixture(scope="session")
def data_root() -> Path:
    roots = os.environ.get("MODELPAD_DATA", "").split(os.pathsep)
    for root in roots:
        if root and (Path(root) / "mnist").is_dir():
            return Path(root)
    pytest.skip("MODELPAD_DATA names no folder with mnist/")


def start_server(*arguments: str, store: Path) -> Server:
    options = ["--port", "0", "--no-open", "--store", str(store)]
    process = subprocess.Popen(
        [sys.executable, "-m", "modelpad", "serve", *arguments, *options],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        found = re.search(r"page\s+(http://\S+)", line)
        if found:
            return Server(found.group(1), process)
    raise AssertionError(f"the server stopped with {process.wait()}")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = start_server("digits", "--max-body-mb", "16", store=tmp_path_factory.mktemp("store"))
    yield running
    running.process.terminate()
    assert running.process.wait(timeout=15) == 0


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts servers as `modelpad serve` does; each is stopped at the end of the test."""
    running: list[Server] = []

    def start(*arguments: str, store: Path) -> Server:
        running.append(start_server(*arguments, store=store))
        return running[-1]

    yield start
    for one in running:
        one.process.terminate()
        assert one.process.wait(timeout=15) == 0


@pytest.fixture
def run_modelpad(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Runs the command line in a process, with a store of its own."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"MODELPAD_STORE": str(tmp_path / "store")} | variables
        return subprocess.run(
            [sys.executable, "-m", "modelpad", *arguments],
            capture_output=True,
            text=True,
            env=environment,
            cwd=tmp_path,
            timeout=300,
        )

    return run
