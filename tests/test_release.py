"""The release workflow: pinned actions, least rights, and steps that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
WORKFLOW = ROOT / ".github" / "workflows" / "release.yml"


@pytest.fixture(scope="module")
def workflow() -> Any:
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load(WORKFLOW.read_text("utf-8"))


def test_actions_are_pinned_to_commits(workflow: Any) -> None:
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    used = [step["uses"] for step in steps if "uses" in step]
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action


def test_only_publishing_may_say_who_it_is(workflow: Any) -> None:
    assert workflow["permissions"] == {}
    assert workflow["jobs"]["build"]["permissions"] == {"contents": "read"}
    publish = workflow["jobs"]["publish"]
    assert publish["permissions"]["id-token"] == "write"
    assert publish["if"] == "github.ref_type == 'tag'"
    assert not any("run" in step for step in publish["steps"])  # no code of a build's dependency
    assert "secrets." not in WORKFLOW.read_text("utf-8")


def test_what_it_runs_is_in_the_makefile(workflow: Any) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    commands = [step.get("run", "") for step in workflow["jobs"]["build"]["steps"]]
    targets = set(re.findall(r"^make (\w+)$", "\n".join(commands), re.MULTILINE))
    assert targets
    assert targets <= set(re.findall(r"^(\w+):", makefile, re.MULTILINE))
