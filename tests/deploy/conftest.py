"""Parts that the tests of deployment use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from modelpad.bundle import Bundle
from modelpad.deploy.deployment import Deployment, Plan, Sizing, choose_name
from modelpad.deploy.folder import write_folder
from modelpad.deploy.targets import make_plan
from modelpad.store import ResolvedBundle

ONE_MODEL = ("sagemaker",)
SIZING = Sizing(cpus=1, memory_mb=512, concurrency=16, batches={"digits": 8})


@pytest.fixture(scope="session")
def deployment(digits: Bundle) -> Deployment:
    """Two models, in versions 3 and 12."""
    models = (ResolvedBundle("digits", 3, digits), ResolvedBundle("Other_one", 12, digits))
    return Deployment(choose_name(models), models, SIZING)


@pytest.fixture(scope="session")
def write_target(
    deployment: Deployment, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Plan, Path]]:
    """Writes a target's folder, once; gives its plan and its path."""
    written: dict[str, tuple[Plan, Path]] = {}

    def write(target: str) -> tuple[Plan, Path]:
        if target not in written:
            folder = tmp_path_factory.mktemp(target)
            given = deployment
            if target in ONE_MODEL:
                given = replace(deployment, models=deployment.models[:1])
            plan = make_plan(target, given)
            write_folder(plan, folder)
            written[target] = plan, folder
        return written[target]

    return write
