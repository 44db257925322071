"""The lock files of a release: complete, hashed, and without the address of any index."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = {"base": (), "serving": ("grpc", "otel", "client")}
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)


def read_lock(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")


def read_pins(name: str) -> dict[str, set[str]]:
    """The versions of each package; there may be one for each of several Pythons."""
    pins: dict[str, set[str]] = {}
    for package, version in PIN.findall(read_lock(name)):
        pins.setdefault(normalise(package), set()).add(version)
    return pins


def normalise(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def list_wanted(name: str) -> dict[str, str]:
    """The least version of each package that the project asks for."""
    extras = PROJECT["optional-dependencies"]
    words = PROJECT["dependencies"] + [word for extra in EXTRAS[name] for word in extras[extra]]
    found = [re.fullmatch(r"([\w.-]+)>=([\d.]+)", word) for word in words]
    assert all(found), words
    return {normalise(each[1]): each[2] for each in found if each}


def split_version(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


@pytest.mark.parametrize("name", EXTRAS)
def test_the_lock_covers_what_the_project_asks_for(name: str) -> None:
    pins = read_pins(name)
    for package, least in list_wanted(name).items():
        assert package in pins, f"{package} is missing: run `make lock`"
        for version in pins[package]:
            assert split_version(version) >= split_version(least), f"{package}: run `make lock`"


def test_both_locks_pin_the_same_versions() -> None:
    serving = read_pins("serving")
    for package, versions in read_pins("base").items():
        assert versions == serving[package]


@pytest.mark.parametrize("name", EXTRAS)
def test_every_entry_is_pinned_by_hashes(name: str) -> None:
    text = re.sub(r"^\s*#.*$", "", read_lock(name), flags=re.MULTILINE)
    entries = [entry for entry in re.split(r"\n(?=\S)", text.strip()) if entry.strip()]
    assert len(entries) >= len(list_wanted(name))
    for entry in entries:
        assert PIN.match(entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), entry


@pytest.mark.parametrize("name", EXTRAS)
def test_no_address_of_an_index_is_written(name: str) -> None:
    assert not re.search(
        r"https?://|file:|--(extra-)?index-url|--trusted-host|--find", read_lock(name)
    )


@pytest.mark.slow
def test_the_lock_can_be_installed(tmp_path: Path) -> None:
    """Downloads what this platform would install, and checks its hashes."""
    lock = ROOT / "requirements" / "base.txt"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    options = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--no-cache-dir"]
    patience = ["--timeout", "15", "--retries", "1"]
    done = subprocess.run(
        [*pip, *options, *patience, "--dest", str(tmp_path), "-r", str(lock)],
        capture_output=True,
        text=True,
    )
    offline = ("NewConnectionError", "ConnectTimeout", "NameResolution", "ProxyError")
    if done.returncode and any(word in done.stderr for word in (*offline, "Connection refused")):
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.iterdir())) == len(read_pins("base"))
