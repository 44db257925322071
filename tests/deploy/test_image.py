"""The image is built and run for real: confined, asked from outside, stopped."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from modelpad.bundle import Bundle
from modelpad.deploy.deployment import Deployment
from modelpad.deploy.image import PYTHON
from modelpad.deploy.kubernetes import write_deployment
from modelpad.deploy.yaml import write_yaml
from modelpad.engine import Session
from modelpad.server.protocols.protobuf import load_message
from tests.deploy.containers import Engine, open_engine
from tests.ports import find_port
from tests.server.protocols.grpc_calls import ask

pytestmark = pytest.mark.containers

MB = 1_000_000
IMAGE = "localhost/modelpad-test"
CONFINED = (
    *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges", "--memory", "512m", "--network", "host"),
    "--no-healthcheck",  # Podman runs it by systemd; the test runs it itself
)
MAX_OVER_BASE, MAX_SLIM = 160 * MB, 160 * MB


@dataclass(frozen=True)
class Running:
    """A container, and its address from outside."""

    name: str
    url: str
    grpc: str
    ready_s: float


@pytest.fixture(scope="session")
def engine() -> Engine:
    return open_engine()


@pytest.fixture(scope="session", params=["default", "slim"])
def image(
    request: pytest.FixtureRequest, engine: Engine, run_deploy: Any, tmp_path_factory: Any
) -> str:
    """An image of two models."""
    folder = tmp_path_factory.mktemp(request.param) / "image"
    slim = ["--slim"] if request.param == "slim" else []
    run_deploy("digits", "second=digits", "--to", "docker", str(folder), *slim)
    name = f"{IMAGE}:{request.param}"
    engine.build(folder, name)
    return name


@pytest.fixture(scope="session")
def run_deploy(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from modelpad.cli.main import main

    def deploy(*arguments: str) -> None:
        store = str(tmp_path_factory.mktemp("store"))
        assert main(["deploy", *arguments, "--store", store]) == 0

    return deploy


@pytest.fixture
def running(engine: Engine, image: str) -> Iterator[Running]:
    """The image's container, ready; removed at the end."""
    name, port, grpc = "modelpad-test", str(find_port()), str(find_port())
    ports = ("-e", f"MODELPAD_PORT={port}", "-e", f"MODELPAD_GRPC_PORT={grpc}")
    engine.call("rm", "--force", name)
    engine.run("create", "--name", name, *CONFINED, *ports, image)
    started = time.monotonic()
    engine.run("start", name)
    try:
        ready_s = wait_until_ready(engine, name, f"http://127.0.0.1:{port}", started)
        yield Running(name, f"http://127.0.0.1:{port}", f"127.0.0.1:{grpc}", ready_s)
    finally:
        engine.call("rm", "--force", name)


def wait_until_ready(engine: Engine, name: str, url: str, started: float) -> float:
    """Seconds until the server is ready."""
    while time.monotonic() < started + 60:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return time.monotonic() - started
        except httpx.TransportError:
            time.sleep(0.01)
    raise AssertionError(engine.run("logs", name))


def find_process(engine: Engine, name: str) -> Path:
    return Path("/proc") / engine.run("inspect", "--format", "{{.State.Pid}}", name)


def read_status(process: Path, field: str) -> str:
    found = re.search(rf"^{field}:\s+(.*)$", (process / "status").read_text(), re.MULTILINE)
    assert found, field
    return found[1]


def test_it_answers_from_outside_confined_and_without_privileges(
    engine: Engine, image: str, running: Running, digits: Bundle
) -> None:
    names = [model["name"] for model in httpx.get(f"{running.url}/models").json()["models"]]
    assert sorted(names) == ["digits", "second"]
    picture = digits.path("samples/7.png").read_bytes()
    for name in names:
        answer = httpx.post(
            f"{running.url}/predict/{name}", content=picture, headers={"content-type": "image/png"}
        )
        assert answer.json()["label"] == "7"
    for name in names:
        scores, expected = ask_over_grpc(running.grpc, name, digits)
        assert scores.argmax() == 7
        np.testing.assert_allclose(scores, expected, atol=1e-4)
    assert "<html" in httpx.get(running.url, headers={"accept": "text/html,*/*;q=0.8"}).text

    process = find_process(engine, running.name)
    assert set(read_status(process, "Uid").split()) == {"65532"}
    assert int(read_status(process, "CapEff"), 16) == 0
    assert read_status(process, "NoNewPrivs") == "1"
    health = ("/opt/modelpad/bin/python", "-IS", "/opt/modelpad/health.py")
    assert engine.call("exec", running.name, *health).returncode == 0
    writes = "open('/opt/modelpad/x', 'w')"
    denied = engine.call("exec", running.name, "/opt/modelpad/bin/python", "-c", writes)
    assert "Read-only file system" in denied.stderr

    size, base = measure_image(engine, image), measure_image(engine, PYTHON)
    memory = measure_memory(engine, running.name)
    print(
        f"\n{image}: {size / MB:.0f} MB, base {base / MB:.0f} MB, ready after"
        f" {running.ready_s:.2f} s, memory {memory / MB:.0f} MB, uid 65532"
    )
    if image.endswith("slim"):
        assert size <= MAX_SLIM
        assert engine.call("exec", running.name, "/bin/sh", "-c", "true").returncode != 0
    else:
        assert size - base <= MAX_OVER_BASE

    engine.run("stop", "--time", "20", running.name)  # then it would be killed: 137
    assert engine.run("inspect", "--format", "{{.State.ExitCode}}", running.name) == "0"


def ask_over_grpc(address: str, name: str, digits: Bundle) -> tuple[Any, Any]:
    """The scores of a seven by the server, over gRPC, and by this machine."""
    session = Session(digits)
    (field,) = digits.manifest.signature.inputs
    sample = session.typed.inputs.decode({field.name: digits.path("samples/7.png").read_bytes()})
    ((tensor, array),) = sample.items()
    request = load_message("inference.ModelInferRequest")(model_name=name)
    request.inputs.add(name=tensor, datatype="FP32", shape=array.shape)
    request.raw_input_contents.append(array.astype(np.float32).tobytes())
    path = "/inference.GRPCInferenceService/ModelInfer"
    answer = ask(address, path, request, "inference.ModelInferResponse")
    expected = session.predict(sample)[answer.outputs[0].name]
    return np.frombuffer(answer.raw_output_contents[0], np.float32), expected.ravel()


def measure_image(engine: Engine, image: str) -> int:
    """The size of the image's layers, unpacked."""
    return int(engine.run("image", "inspect", "--format", "{{.Size}}", image))


def measure_memory(engine: Engine, name: str) -> int:
    """The resident memory that belongs to the container's processes alone (USS), in bytes."""
    pids = engine.run("top", name, "hpid").split()[1:]
    rollups = (Path("/proc", pid, "smaps_rollup").read_text() for pid in pids)
    kilobytes = (re.findall(r"^Pss:\s+(\d+) kB", text, re.MULTILINE) for text in rollups)
    return sum(1024 * int(number) for found in kilobytes for number in found)


def test_the_bill_of_materials_lists_what_is_installed(engine: Engine, image: str) -> None:
    read = "print(open('/opt/modelpad/sbom.cdx.json').read())"
    python = ("--entrypoint", "/opt/modelpad/bin/python", "--network", "host")
    bill = json.loads(engine.run("run", "--rm", *python, image, "-c", read))
    names = {component["name"] for component in bill["components"]}
    assert {"python", "modelpad", "numpy", "onnxruntime", "grpcio", "pillow"} <= names
    assert not {"pip", "setuptools", "torch"} & names


def test_kubernetes_manifest_runs(
    engine: Engine, deployment: Deployment, tmp_path: Path, image: str
) -> None:
    """`podman kube play` runs the Deployment's pods as a cluster would.

    On the host's network: without one of its own, Podman 4.3 takes no ports of a container.
    """
    if image.endswith("slim"):
        pytest.skip("the manifest is the same")
    manifest: Any = write_deployment(deployment, image)
    manifest["spec"]["replicas"] = 1
    pod = manifest["spec"]["template"]["spec"]
    pod["hostNetwork"] = True
    container = pod["containers"][0]
    port = find_port()
    container.pop("ports")
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        container[probe]["httpGet"]["port"] = port
    container["env"] += [
        {"name": "MODELPAD_PORT", "value": str(port)},
        {"name": "MODELPAD_GRPC_PORT", "value": str(find_port())},
    ]
    path = tmp_path / "deployment.yaml"
    path.write_bytes(write_yaml(manifest))
    started = time.monotonic()
    engine.run("play", "kube", "--network", "host", str(path))
    try:
        name = f"{deployment.name}-pod-0-modelpad"
        wait_until_ready(engine, name, f"http://127.0.0.1:{port}", started)
        assert set(read_status(find_process(engine, name), "Uid").split()) == {"65532"}
    finally:
        engine.run("play", "kube", "--down", str(path))
