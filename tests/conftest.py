"""Parts that several tests use: the bundled digits, a store, a real server, real data."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if find_spec("torch") is not None:
    os.environ.setdefault("KERAS_BACKEND", "torch")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # each worker has a CPU of its own

from modelpad.bundle import Bundle, Manifest, open_bundle, write_bundle
from modelpad.fields import Label, Score, Signature, Tensor, Text
from modelpad.zoo import zoo_bundles
from tests.ports import find_port
from tests.signing_keys import make_keys, run_openssl
from tests.warm_python import WarmPython


@dataclass(frozen=True)
class Server:
    """A server in a process of its own."""

    url: str
    process: subprocess.Popen[str]

    @property
    def address(self) -> str:
        """Host and port."""
        return self.url.partition("://")[2]


@pytest.fixture(scope="session")
def digits() -> Bundle:
    return open_bundle(zoo_bundles()["digits"])


@pytest.fixture(scope="session")
def styles(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a bundle that paints pictures, untrained."""
    pytest.importorskip("torch")
    from tests.style_parts import write_styles

    return str(write_styles(tmp_path_factory.mktemp("styles")))


@pytest.fixture(scope="session")
def data_root() -> Path:
    roots = os.environ.get("MODELPAD_DATA", "").split(os.pathsep)
    for root in roots:
        if root and (Path(root) / "mnist").is_dir():
            return Path(root)
    pytest.skip("MODELPAD_DATA names no folder with mnist/")


PROGRAM = ("-m", "modelpad")


def start_server(*arguments: str, store: Path, program: Sequence[str] = PROGRAM) -> Server:
    options = ["--port", "0", "--no-open", "--store", str(store)]
    process = subprocess.Popen(
        [sys.executable, *program, "serve", *arguments, *options],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        found = re.search(r"page\s+(https?://\S+)", line)
        if found:
            return Server(found.group(1), process)
    raise AssertionError(f"the server stopped with {process.wait()}")


GATED = """
import asyncio, sys
from pathlib import Path
from modelpad.cli.main import main
from modelpad.server.host import ModelHost
from modelpad.server.lifecycle.reconciler import Reconciler

gates = Path(sys.argv.pop(1))

def gate(method, name, closed):
    async def wait(self, *given):
        result = await method(self, *given)
        if (gates / name).exists() and closed(*given):
            (gates / f"{name}-reached").touch()
            while (gates / name).exists():
                await asyncio.sleep(0.01)
        return result
    return wait

ModelHost.start = gate(ModelHost.start, "start", lambda: True)
Reconciler.prepare = gate(Reconciler.prepare, "prepare", lambda name, plan: 2 in plan.versions)
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="session")
def gated() -> tuple[str, ...]:
    """A program as `modelpad`, given a folder of gates: while the file `start` is there, workers
    wait when they have looked at the store, and while `prepare` is, when version 2 is open."""
    return ("-c", GATED)


LOGGING = """
import logging, sys
from modelpad.cli.main import main

logging.basicConfig(level=logging.INFO)
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="session")
def verbose() -> tuple[str, ...]:
    """A program as `modelpad`, that logs what is worth knowing too, on standard error."""
    return ("-c", LOGGING)


@pytest.fixture
def wait_for_log(
    capfd: pytest.CaptureFixture[str], wait_for: Callable[..., None]
) -> Callable[..., str]:
    """Waits until servers have logged a text so many times; gives all that they have logged."""
    log: list[str] = []

    def wait(text: str, times: int = 1) -> str:
        def is_logged() -> bool:
            log.append(capfd.readouterr().err)
            return "".join(log).count(text) >= times

        wait_for(is_logged)
        return "".join(log)

    return wait


def stop_server(server: Server) -> None:
    server.process.terminate()
    assert server.process.wait(timeout=15) == 0


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = start_server("digits", "--max-body-mb", "16", store=tmp_path_factory.mktemp("store"))
    yield running
    stop_server(running)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts servers as `modelpad serve` does; each is stopped at the end of the test."""
    running: list[Server] = []

    def start(*arguments: str, store: Path, program: Sequence[str] = PROGRAM) -> Server:
        running.append(start_server(*arguments, store=store, program=program))
        return running[-1]

    yield start
    for one in running:
        stop_server(one)


@pytest.fixture(scope="session")
def start_serving() -> Callable[..., AbstractContextManager[tuple[Server, str]]]:
    """Starts a server with gRPC, for as long as a `with` lasts; gives it and its gRPC address."""

    @contextmanager
    def start(
        *arguments: str, store: Path, program: Sequence[str] = PROGRAM
    ) -> Iterator[tuple[Server, str]]:
        port = str(find_port())
        running = start_server(*arguments, "--grpc-port", port, store=store, program=program)
        try:
            yield running, f"127.0.0.1:{port}"
        finally:
            stop_server(running)

    return start


@pytest.fixture
def run_modelpad(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command line in a process, with a store of its own."""

    def run(*arguments: str, input: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"MODELPAD_STORE": str(tmp_path / "store")} | variables
        return subprocess.run(
            [sys.executable, "-m", "modelpad", *arguments],
            input=input,
            capture_output=True,
            text=True,
            env=environment,
            cwd=tmp_path,
            timeout=300,
        )

    return run


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the keys `key` and `other`, each `.pem` and `.pub`."""
    pytest.importorskip("cryptography")
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def warm_python() -> Iterator[WarmPython]:
    """A process that has imported the frameworks, and forks for each command."""
    warm = WarmPython()
    yield warm
    warm.close()


@pytest.fixture
def run_import(
    tmp_path: Path, warm_python: WarmPython
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """As `run_modelpad("import", ...)`, in a process that has imported the frameworks."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"MODELPAD_STORE": str(tmp_path / "store")}
        return warm_python.run(["import", *arguments], cwd=tmp_path, env=environment)

    return run


@pytest.fixture
def write_onnx() -> Callable[..., Path]:
    """Writes an ONNX file of `result = factor * row`, rows of two numbers; 0 is a softmax."""

    def write(path: Path, factor: float = 2.0, output: str = "result") -> Path:
        from onnx import TensorProto, helper, numpy_helper, save

        values = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2])
            for name in ("row", output)
        ]
        constant = numpy_helper.from_array(np.array(factor, np.float32), "factor")
        nodes = [helper.make_node("Mul", ["row", "factor"], [output])]
        if not factor:
            nodes = [helper.make_node("Softmax", ["row"], [output], axis=-1)]
        graph = helper.make_graph(nodes, "scaled", values[:1], values[1:], [constant])
        opsets = [helper.make_opsetid("", 17)]
        path.parent.mkdir(parents=True, exist_ok=True)
        save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
        return path

    return write


def make_bundle(
    folder: Path, name: str, nodes: Any, inputs: Any, outputs: Any, signature: Signature
) -> Bundle:
    """A bundle of a graph written by hand; `inputs` and `outputs` are (name, type, item shape)."""
    from onnx import helper

    def describe(values: Any) -> list[Any]:
        return [helper.make_tensor_value_info(n, kind, ["batch", *s]) for n, kind, s in values]

    graph = helper.make_graph(nodes, name, describe(inputs), describe(outputs))
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    manifest = Manifest(name=name, task="test", title=name, signature=signature)
    return write_bundle(folder / name, manifest, {"model.onnx": model.SerializeToString()})


@pytest.fixture(scope="session")
def build_bundle() -> Callable[..., Bundle]:
    """`make_bundle`, for tests that write a graph of their own."""
    return make_bundle


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundles."""
    from onnx import TensorProto, helper, numpy_helper

    folder = tmp_path_factory.mktemp("bundles")
    half = numpy_helper.from_array(np.array(0.5, np.float32), "half")
    two = numpy_helper.from_array(np.array(2.0, np.float32), "two")

    def constant(tensor: Any) -> Any:
        return helper.make_node("Constant", [], [tensor.name], value=tensor)

    number = TensorProto.FLOAT
    make_bundle(
        folder,
        "half_plus_two",
        [
            constant(half),
            constant(two),
            helper.make_node("Mul", ["x", "half"], ["halved"]),
            helper.make_node("Add", ["halved", "two"], ["y"]),
        ],
        [("x", number, [])],
        [("y", number, [])],
        Signature((Tensor("x", "float32", ()),), (Score("y"),)),
    )
    make_bundle(
        folder,
        "mix",
        [
            helper.make_node("Add", ["first", "second"], ["total"]),
            helper.make_node("Sub", ["first", "second"], ["apart"]),
        ],
        [("first", TensorProto.INT32, [4]), ("second", TensorProto.INT32, [4])],
        [("total", TensorProto.INT32, [4]), ("apart", TensorProto.INT32, [4])],
        Signature(
            (Tensor("first", "int32", (4,)), Tensor("second", "int32", (4,))),
            (Tensor("total", "int32", (4,)), Tensor("apart", "int32", (4,))),
        ),
    )
    make_bundle(
        folder,
        "echo",
        [helper.make_node("Identity", ["words"], ["same"])],
        [("words", TensorProto.STRING, [])],
        [("same", TensorProto.STRING, [])],
        Signature((Text("words"),), (Text("same"),)),
    )
    make_bundle(
        folder,
        "pick",
        [helper.make_node("Softmax", ["row"], ["kind"], axis=-1)],
        [("row", number, [3])],
        [("kind", number, [3])],
        Signature((Tensor("row", "float32", (3,)),), (Label("kind", ("a", "b", "c")),)),
    )
    return folder


@pytest.fixture
def free_port() -> int:
    return find_port()


@pytest.fixture(scope="session")
def wait_for() -> Callable[..., None]:
    """Waits until a check holds, 15 seconds at most."""

    def wait(check: Callable[[], Any], seconds: float = 15) -> None:
        end = time.monotonic() + seconds
        while not check():
            assert time.monotonic() < end, "it did not come"
            time.sleep(0.02)

    return wait


@pytest.fixture(scope="session")
def both(bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A server with these and the digits: its HTTP address, and its gRPC address."""
    names = [str(path) for path in sorted(bundles.iterdir())]
    port = find_port() if find_spec("grpc") is not None else 0
    speak = ["--grpc-port", str(port)] if port else []
    running = start_server(*names, "digits", *speak, store=tmp_path_factory.mktemp("store"))
    yield running.address, f"127.0.0.1:{port}"
    stop_server(running)


@pytest.fixture(scope="session")
def protocols(both: tuple[str, str]) -> str:
    """Its HTTP address."""
    return both[0]


@pytest.fixture(scope="session")
def grpc_address(both: tuple[str, str]) -> str:
    """Its gRPC address."""
    return both[1]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for this machine that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
    run_openssl(
        folder,
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
        *("-subj", "/CN=127.0.0.1", "-addext", names),
        *("-keyout", str(key), "-out", str(certificate)),
    )
    return certificate, key


CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    # DNS rebinding: a name of an attacker's that means this machine.
    "--host-resolver-rules=MAP rebound.example 127.0.0.1",
    # A camera with a moving picture, which every page may use.
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("MODELPAD_CHROMIUM") or shutil.which("chromium")
    if path is None:
        pytest.skip("Chromium is not installed; MODELPAD_CHROMIUM may name it")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_FLAGS))
        yield chromium
        chromium.close()


RUN_AXE = """async () => (await axe.run(document, { resultTypes: ["violations"] })).violations
  .flatMap(({ id, nodes }) => nodes.slice(0, 3)
    .map(({ target, failureSummary }) => `${id}: ${target}: ${failureSummary}`))"""


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, from the package that has it or the file that MODELPAD_AXE names."""
    if "MODELPAD_AXE" in os.environ:
        return Path(os.environ["MODELPAD_AXE"]).read_text("utf-8")
    found = find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        pytest.skip("axe-core is not installed: pip install axe-playwright-python")
    return (Path(found.origin).parent / "axe.min.js").read_text("utf-8")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A linear layer, exported by PyTorch: it takes `input` (batch, 4)."""
    torch = pytest.importorskip("torch")
    batch = torch.export.Dim("batch")
    net = torch.nn.Linear(4, 2).eval()
    exported = torch.export.export(net, (torch.rand(2, 4),), dynamic_shapes=({0: batch},))
    torch.export.save(exported, tmp_path / "net.pt2")
    return tmp_path / "net.pt2"
