"""`modelpad deploy --to ray`: Ray reads the configuration, and serves the folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from modelpad.bundle import open_bundle
from modelpad.cluster.connection import VARIABLES
from modelpad.deploy.deployment import Deployment, Sizing
from modelpad.deploy.folder import write_folder
from modelpad.deploy.targets import make_plan
from modelpad.store import ResolvedBundle
from modelpad.zoo import zoo_bundles
from tests.ports import find_port

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.long]
START_S = 180
OWN = {"RAY_ADDRESS": "local"}  # whatever cluster this machine belongs to


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    digits = ResolvedBundle("digits", 3, open_bundle(zoo_bundles()["digits"]))
    deployment = Deployment("digits", (digits,), Sizing(1, 512, 16, {"digits": 8}))
    path = tmp_path_factory.mktemp("deploy")
    write_folder(make_plan("ray", deployment), path)
    return path


def test_ray_accepts_the_configuration(folder: Path) -> None:
    yaml = pytest.importorskip("yaml")
    from ray.serve.schema import ServeDeploySchema

    schema = ServeDeploySchema.model_validate(yaml.safe_load((folder / "config.yaml").read_text()))
    (app,) = schema.applications
    assert app.name == "digits"
    assert [each.name for each in app.deployments] == ["modelpad"]


def test_the_folder_is_served(folder: Path) -> None:
    """On a cluster that has the folder and modelpad, without a bucket."""
    yaml = pytest.importorskip("yaml")
    port, config = find_port(), yaml.safe_load((folder / "config.yaml").read_text())
    config["http_options"] = {"host": "127.0.0.1", "port": port}
    runtime = config["applications"][0].pop("runtime_env")
    (folder / "here.yaml").write_text(yaml.safe_dump(config))
    paths = os.pathsep.join([str(folder), *sys.path])
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ray.serve.scripts", "run", "here.yaml"],
            cwd=folder,
            env={**os.environ, **VARIABLES, **runtime["env_vars"], **OWN, "PYTHONPATH": paths},
            stdout=output,
            stderr=output,
        )
    try:
        answer = ask(port, process, folder)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
    assert answer["version"] == 3
    assert len(answer["scores"]) == 10


def ask(port: int, process: subprocess.Popen[bytes], folder: Path) -> dict[str, Any]:
    """The response to a sample, once it is served."""
    picture = next((folder / "models" / "digits" / "3" / "samples").iterdir()).read_bytes()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/predict/digits", picture)
    request.add_header("content-type", "image/png")
    deadline = time.monotonic() + START_S
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                answer: dict[str, Any] = json.loads(response.read())
                return answer
        except OSError:
            assert process.poll() is None, (folder / "output").read_text()
            assert time.monotonic() < deadline, (folder / "output").read_text()
            time.sleep(1)
