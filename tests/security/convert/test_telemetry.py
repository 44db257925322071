"""ONNX Runtime reports nothing: its telemetry is disabled before it is loaded, in every process.

Each test first shows that the leak is there when telemetry is enabled, so that silence proves
something. `strace` records what a server attempts and fails every connection, so that nothing
leaves this machine either way.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelpad import runtime
from modelpad.bundle import Bundle

KEPT = ("PATH", "PYTHONPATH", "LANG", "LD_LIBRARY_PATH", "TMPDIR")
LONGEST_WAIT_S = 60.0  # the first look-up comes about ten seconds after the library is loaded
SAVE = """
import modelpad, onnx
modelpad.save(onnx.load("sizes.onnx"), "saved")
"""
TRAIN_TOOLS = """
from modelpad.convert.graph import load_onnx
load_onnx()
import onnxruntime
"""
COMMANDS = {
    "predict": ("-m", "modelpad", "predict", "digits", "digit.png"),
    "import": ("-m", "modelpad", "import", "sizes.onnx", "--name", "sizes"),
    "import, quantized": ("-m", "modelpad", "import", "sizes.onnx", "--quantize", "fp16"),
    "doctor": ("-m", "modelpad", "doctor"),
    "modelpad.save": ("-c", SAVE),
    "an exporter's own import": ("-c", TRAIN_TOOLS),
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def work(tmp_path: Path, digits: Bundle) -> Path:
    """A folder to work in, with an ONNX file and a picture of a digit."""
    folder = tmp_path / "work"
    folder.mkdir()
    picture = next(name for name in digits.manifest.files if name.endswith(".png"))
    shutil.copyfile(digits.path(picture), folder / "digit.png")
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    ends = [helper.make_tensor_value_info(name, kind, ["batch", 4]) for name in ("row", "size")]
    graph = helper.make_graph([helper.make_node("Abs", ["row"], ["size"])], "g", ends[:1], ends[1:])
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), folder / "sizes.onnx")
    return folder


def environment(home: Path, **more: str) -> dict[str, str]:
    """As a user's shell, without the variables of CI systems, where ONNX Runtime is silent."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return kept | {"HOME": str(home), "MODELPAD_STORE": str(home.parent / "store")} | more


def written(home: Path) -> list[str]:
    return sorted(str(path.relative_to(home)) for path in home.rglob("*"))


@pytest.fixture(scope="module")
def leak(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips where the installed ONNX Runtime has no telemetry to disable."""
    home = tmp_path_factory.mktemp("leaking")
    command = [sys.executable, "-c", "import onnxruntime"]
    subprocess.run(command, env=environment(home, ORT_DISABLE_TELEMETRY="0"), check=True)
    if not written(home):
        pytest.skip("this ONNX Runtime reports nothing, whether telemetry is disabled or not")


@pytest.mark.usefixtures("leak")
@pytest.mark.parametrize("name", COMMANDS)
def test_the_home_directory_stays_empty(name: str, home: Path, work: Path) -> None:
    done = subprocess.run(
        [sys.executable, *COMMANDS[name]],
        env=environment(home),
        cwd=work,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert written(home) == []


@pytest.fixture
def start_traced(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Starts `modelpad serve digits` under strace; answers the file that grows with its calls."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: apt-get install strace")
    probe = subprocess.run(["strace", "-f", "-o", os.devnull, "true"], capture_output=True)
    if probe.returncode:
        pytest.skip("strace may not trace processes here")
    running: list[subprocess.Popen[str]] = []

    def start(name: str, *options: str, **variables: str) -> Path:
        home, calls = tmp_path / f"home-{name}", tmp_path / f"{name}.strace"
        home.mkdir()
        trace = ["strace", "-f", "-o", str(calls), "-e", "trace=connect,sendto,sendmmsg,openat"]
        trace += ["-e", "inject=connect,sendmmsg:error=ENETUNREACH"]
        serve = [sys.executable, "-m", "modelpad", "serve", "digits", "--port", "0", "--no-open"]
        process = subprocess.Popen(
            [*trace, *serve, *options],
            env=environment(home, **variables),
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        running.append(process)
        assert process.stdout is not None
        assert any("page" in line for line in process.stdout), "the server did not start"
        return calls

    yield start
    for process in running:
        os.killpg(process.pid, signal.SIGTERM)  # strace itself waits for what it traces
        process.wait(timeout=30)


def lookups(calls: Path) -> list[str]:
    """The recorded calls that read the resolver's settings or connect to another machine."""
    lines = calls.read_text(errors="replace").splitlines()
    outside = re.compile(r"resolv\.conf|connect\(\d+, \{sa_family=AF_INET6?,")
    return [line for line in lines if outside.search(line)]


@pytest.mark.slow
@pytest.mark.usefixtures("leak")
def test_a_server_looks_up_no_name(start_traced: Callable[..., Path], tmp_path: Path) -> None:
    silent = [start_traced("one"), start_traced("many", "--workers", "2")]
    leaking = start_traced("leaking", ORT_DISABLE_TELEMETRY="0")  # the last, so the youngest
    end = time.monotonic() + LONGEST_WAIT_S
    while not lookups(leaking):
        if time.monotonic() > end:
            pytest.skip("this ONNX Runtime looks nothing up, even with telemetry enabled")
        time.sleep(0.25)
    time.sleep(1)  # the silent ones, which are older, may not follow
    assert [lookups(calls) for calls in silent] == [[], []]
    assert written(tmp_path / "home-leaking")
    assert written(tmp_path / "home-one") == written(tmp_path / "home-many") == []


def test_a_value_of_the_users_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, expected in ((None, "1"), ("", "1"), ("0", "0"), ("1", "1")):
        if given is None:
            monkeypatch.delenv(runtime.TELEMETRY_VARIABLE, raising=False)
        else:
            monkeypatch.setenv(runtime.TELEMETRY_VARIABLE, given)
        runtime.load_onnxruntime()
        assert os.environ[runtime.TELEMETRY_VARIABLE] == expected
