"""The image's requirements: complete, hashed, and what the project asks for."""

from __future__ import annotations

import re
import tomllib
from itertools import combinations
from pathlib import Path

import pytest

from modelpad.deploy.locked import DIRECT, EXTRAS, LOCK, find_needed, select_requirements

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
CHOICES = [chosen for count in range(4) for chosen in combinations(sorted(EXTRAS), count)]


def name_packages(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=\[ ;]", requirement)[0] for requirement in requirements}


def test_the_packages_are_those_of_the_project() -> None:
    assert set(DIRECT) == name_packages(PROJECT["dependencies"])
    for extra, names in EXTRAS.items():
        assert set(names) == name_packages(PROJECT["optional-dependencies"][extra])


def test_the_versions_are_those_of_the_release() -> None:
    released = dict(PIN.findall((ROOT / "requirements" / "serving.txt").read_text("utf-8")))
    image = dict(PIN.findall(LOCK.read_text("utf-8")))
    shared = (set(released) & set(image)) - {"numpy"}  # one for each of several Pythons
    assert len(shared) > 20
    assert {name: image[name] for name in shared} == {name: released[name] for name in shared}


@pytest.mark.parametrize("extras", CHOICES, ids=lambda chosen: "+".join(chosen) or "base")
def test_a_selection_is_hashed_and_has_no_index(extras: tuple[str, ...]) -> None:
    text = select_requirements(extras, "modelpad.whl", b"wheel").decode()
    entries = [entry for entry in re.split(r"\n(?=\S)", text.strip()) if not entry.startswith("#")]
    assert len(entries) == len(find_needed(extras)) + 1
    for entry in entries:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), entry
    assert not re.search(r"https?:|--index|--find|# ", text.partition("\n")[2])
    assert text.rstrip().splitlines()[-2] == "./modelpad.whl \\"


def test_grpc_and_tokenizers_come_only_where_they_are_needed() -> None:
    assert not {"grpcio", "tokenizers", "requests"} & find_needed(())
    assert "grpcio" in find_needed(["grpc"])
    assert {"requests", "urllib3", "opentelemetry-api"} <= find_needed(["otel"])
