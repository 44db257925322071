"""Models in a process of their own: the frames, and what happens when the process misbehaves."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from modelpad.engine import frames
from modelpad.engine.frames import (
    Call,
    Failure,
    FrameInvalid,
    Part,
    Ready,
    Result,
    pack_arrays,
    receive_frame,
    send_frame,
)
from modelpad.engine.native import Crashes, NativeGraph, describe_exit, limit_threads
from modelpad.engine.session import Run
from modelpad.errors import BundleInvalid, MissingExtra, ModelFailed
from modelpad.fields.arrays import Arrays

Pair = tuple[socket.socket, socket.socket]
# A process as `native_worker`, whose model does as its input says.
WORKER = """
import ctypes, os, sys, time
from pathlib import Path
import numpy as np
from modelpad.convert import native_worker
from modelpad.convert.source import TensorSpec
from modelpad.errors import ConversionFailed, MissingExtra

print("a framework starts", flush=True)
START = sys.argv[1]
if START == "missing":
    def open_model(folder): raise MissingExtra("xgboost", extra="xgboost")
elif START == "invalid":
    def open_model(folder): raise ConversionFailed("It is damaged.", hint="Save it again.")
elif START == "crash":
    def open_model(folder): os.abort()
else:
    def open_model(folder): return Model()

class Model:
    inputs = (TensorSpec("x", "float32", (None, None)), TensorSpec("do", "string", (None,)))
    outputs = (TensorSpec("y", "float32", (None, None)), TensorSpec("said", "string", (None,)))

    def run(self, batch):
        print("noise" * 1000)
        os.write(1, b"noise from C")
        for word in batch["do"]:
            if word == "raise":
                raise ValueError("the values are odd")
            if word == "crash":
                ctypes.string_at(0)
            if word == "exit":
                os._exit(3)
            if word.startswith("h"):
                Path(__file__).with_name("hanging").touch()
            if word == "hang":
                time.sleep(600)
            if word == "hold the lock":
                ctypes.PyDLL(None).sleep(600)
        threads = os.environ["OMP_NUM_THREADS"]
        said = np.array([f"{os.getpid()} {threads} {word}" for word in batch["do"]], object)
        return {"y": (2 * batch["x"]).astype("float64"), "said": said}

native_worker.open_model = open_model
sys.exit(native_worker.main(["FOLDER", *sys.argv[2:]]))
"""


@pytest.fixture
def command(tmp_path: Path) -> Callable[[str], list[str]]:
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    return lambda start: [sys.executable, str(script), start]


@pytest.fixture
def graph(command: Callable[[str], list[str]]) -> NativeGraph:
    return NativeGraph(command("well"), "xgboost", threads=1)


@pytest.fixture
def once_hanging(tmp_path: Path, wait_for: Any) -> Callable[[Callable[[], None]], None]:
    """Calls a function as soon as the model hangs, from a thread of its own."""

    def watch(act: Callable[[], None]) -> None:
        wait_for((tmp_path / "hanging").exists)
        act()

    return lambda act: threading.Thread(target=watch, args=(act,), daemon=True).start()


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def feed(*words: str) -> Arrays:
    return {
        "x": np.arange(2 * len(words), dtype=np.float32).reshape(len(words), 2),
        "do": np.array(words, object),
    }


def run(graph: NativeGraph, *words: str, stop: Run | None = None) -> Arrays:
    options = None if stop is None else stop.options
    return dict(zip(("y", "said"), graph.run(["y", "said"], feed(*words), options), strict=True))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


# --- frames


@pytest.mark.parametrize("dtype", sorted(frames.NUMBERS))
def test_numbers_cross_exactly(pair: Pair, dtype: str) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype).swapaxes(0, 2)
    sent = {"a/b:0": array, "empty": array[:0], "scalar": array[0, 0, 0]}
    parts, body = pack_arrays({name: np.asarray(value) for name, value in sent.items()})
    send_frame(pair[0], Result(parts), body)
    _, got = receive_frame(pair[1])
    for name, value in sent.items():
        assert got[name].dtype == np.asarray(value).dtype
        assert got[name].shape == np.shape(value)
        np.testing.assert_array_equal(got[name], value)


def test_big_endian_numbers_and_bytes_are_read(pair: Pair) -> None:
    arrays = {"n": np.arange(5, dtype=">i4"), "t": np.array([b"caf\xc3\xa9", "", "\0"], object)}
    parts, body = pack_arrays(arrays)
    send_frame(pair[0], Call(("y",), parts), body)
    _, got = receive_frame(pair[1])
    assert got["n"].tolist() == [0, 1, 2, 3, 4]
    assert got["t"].tolist() == ["café", "", "\0"]


@pytest.mark.parametrize("value", [np.array([object()]), np.array([None, "a"]), np.zeros(1, "M8")])
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(FrameInvalid, match="'x'"):
        pack_arrays({"x": value})


HOSTILE = {
    "a header too long": frames.LENGTHS.pack(1 << 30, 0),
    "a body too long": frames.LENGTHS.pack(0, 1 << 60),
    "no MessagePack": frames.LENGTHS.pack(4, 0) + b"\xc1\xc1\xc1\xc1",
}
WRONG_PARTS = {
    "more than the body": Part("x", "float32", (4,), 8),
    "a shape beyond its bytes": Part("x", "float32", (1 << 40,), 4),
    "a negative side": Part("x", "float32", (-1,), 4),
    "many sides": Part("x", "float32", (1,) * 99, 4),
    "objects": Part("x", "object", (1,), 4),
    "texts that are none": Part("x", "string", (1,), 4),
}


@pytest.mark.parametrize("case", sorted(HOSTILE))
def test_an_invalid_frame_is_rejected(pair: Pair, case: str) -> None:
    pair[0].sendall(HOSTILE[case])
    with pytest.raises(FrameInvalid):
        receive_frame(pair[1])


@pytest.mark.parametrize("case", sorted(WRONG_PARTS))
def test_an_invalid_tensor_is_rejected(pair: Pair, case: str) -> None:
    head = msgspec.msgpack.encode(Result((WRONG_PARTS[case],)))
    pair[0].sendall(frames.LENGTHS.pack(len(head), 4) + head + b"\x91\x01\x00\x00")
    with pytest.raises(FrameInvalid):
        receive_frame(pair[1])


def test_a_closed_connection_is_the_end(pair: Pair) -> None:
    pair[0].close()
    with pytest.raises(EOFError):
        receive_frame(pair[1])


def test_frames_of_each_kind_keep_their_content(pair: Pair) -> None:
    for header in (Ready((), ()), Failure("ValueError", "wrong", "right")):
        send_frame(pair[0], header)
        assert receive_frame(pair[1]) == (header, {})


# --- the process


def test_a_model_runs_in_its_own_process(graph: NativeGraph) -> None:
    assert [value.name for value in graph.get_inputs()] == ["x", "do"]
    assert [value.type for value in graph.get_outputs()] == ["tensor(float32)", "tensor(string)"]
    assert list(graph.get_inputs()[0].shape) == [None, None]
    outputs = run(graph, "well", "good")
    assert outputs["y"].dtype == np.float32
    assert outputs["y"].tolist() == [[0, 2], [4, 6]]
    pid, threads, word = outputs["said"][1].split()
    assert int(pid) == graph.pid != os.getpid()
    assert (threads, word) == ("1", "good")
    assert graph.process_bytes > 1 << 20
    assert graph.run(["said"], feed("one"))[0].shape == (1,)  # of several outputs, those wanted


def test_large_arrays_cross(graph: NativeGraph) -> None:
    x = np.random.default_rng(1).random((16, 500_000), np.float32)  # 32 MB
    (y,) = graph.run(["y"], {"x": x, "do": np.array(["well"], object)})
    np.testing.assert_array_equal(y, 2 * x)


def test_an_exception_is_reported_and_the_process_stays(graph: NativeGraph) -> None:
    before = graph.pid
    with pytest.raises(ModelFailed, match="the values are odd"):
        run(graph, "raise")
    run(graph, "well")
    assert graph.pid == before


def test_a_crash_is_reported_and_the_process_starts_again(graph: NativeGraph) -> None:
    before = graph.pid
    with pytest.raises(ModelFailed, match=r"xgboost process .* crashed \(SIGSEGV\)") as raised:
        run(graph, "crash")
    assert "again" in raised.value.hint
    run(graph, "well")
    assert graph.pid not in (None, before)
    os.kill(int(graph.pid or 0), signal.SIGKILL)
    with pytest.raises(ModelFailed, match="SIGKILL"):
        run(graph, "well")
    with pytest.raises(ModelFailed, match="exit code 3"):
        run(graph, "exit")
    with pytest.raises(ModelFailed, match="2 times in a row"):
        run(graph, "well")


def test_each_crash_in_a_row_makes_the_pause_longer() -> None:
    crashes = Crashes()
    pauses = []
    for _ in range(12):
        crashes.add(100.0)
        pauses.append(crashes.until - 100)
    assert pauses[:4] == [0, 0.5, 1, 2]
    assert pauses[-1] == 30


@pytest.mark.parametrize("word", ["hang", "hold the lock"])
def test_a_run_that_hangs_is_stopped(graph: NativeGraph, word: str, once_hanging: Any) -> None:
    before = int(graph.pid or 0)
    stop = Run()
    once_hanging(stop.stop)
    with pytest.raises(ModelFailed, match="stopped"):
        run(graph, word, stop=stop)
    assert not is_running(before)
    assert run(graph, "well")["y"].tolist() == [[0, 2]]


def test_a_run_waits_for_the_one_before(
    graph: NativeGraph, tmp_path: Path, wait_for: Any, once_hanging: Any
) -> None:
    first, second = Run(), Run()
    once_hanging(lambda: threading.Timer(0.3, second.stop).start())

    def hang() -> None:
        with pytest.raises(ModelFailed, match="stopped"):
            run(graph, "hang", stop=first)

    hanging = threading.Thread(target=hang)
    hanging.start()
    wait_for((tmp_path / "hanging").exists)
    with pytest.raises(ModelFailed, match="stopped"):
        run(graph, "well", stop=second)
    first.stop()
    hanging.join()
    run(graph, "well")


def test_the_process_ends_with_its_graph(graph: NativeGraph, command: Any) -> None:
    other = NativeGraph(command("well"), "xgboost")
    pid = int(other.pid or 0)
    assert is_running(pid)
    del other
    assert not is_running(pid)


@pytest.mark.parametrize(
    ("start", "kind", "words"),
    [
        ("missing", MissingExtra, "xgboost is not installed"),
        ("invalid", BundleInvalid, "It is damaged"),
        ("crash", BundleInvalid, "SIGABRT"),
    ],
)
def test_a_failed_start_says_why(command: Any, start: str, kind: Any, words: str) -> None:
    with pytest.raises(kind, match=words) as raised:
        NativeGraph(command(start), "xgboost")
    assert raised.value.hint


def test_a_process_that_is_no_worker_is_reported() -> None:
    with pytest.raises(BundleInvalid, match="exit code"):
        NativeGraph([sys.executable, "-c", "raise SystemExit(4)"], "xgboost")
    with pytest.raises(BundleInvalid, match="cannot be started"):
        NativeGraph(["/nowhere/python"], "xgboost")


PARENT = """
import sys, threading
import numpy as np
from modelpad.engine.native import NativeGraph

graph = NativeGraph(sys.argv[2:], "xgboost")
feed = {"x": np.zeros((1, 2), np.float32), "do": np.array([sys.argv[1]], object)}
threading.Thread(target=graph.run, args=(["y"], feed), daemon=True).start()
print(graph.pid, flush=True)
threading.Event().wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs the kernel's signal")
@pytest.mark.parametrize("word", ["well", "hang", "hold the lock"])
def test_a_killed_server_leaves_no_process(command: Any, word: str, wait_for: Any) -> None:
    arguments = [sys.executable, "-c", PARENT, word, *command("well")]
    parent = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    time.sleep(0.3)  # until it runs
    assert is_running(pid)
    parent.kill()
    parent.wait()
    wait_for(lambda: not is_running(pid))


def test_signals_for_the_server_do_not_end_the_process(graph: NativeGraph) -> None:
    pid = graph.pid
    assert pid is not None
    for kind in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid, kind)
    run(graph, "well")


def test_threads_are_limited_and_exits_described() -> None:
    assert limit_threads(3)["OMP_NUM_THREADS"] == "3"
    assert [describe_exit(code) for code in (1, -9, -99)] == ["exit code 1", "SIGKILL", "signal 99"]
