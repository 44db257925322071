"""Runs a model in a process of its own, in the framework that it was made with.

`NativeGraph` stands in for an ONNX Runtime session, so that a `Session` runs either. The process is
`python -m modelpad.convert.native_worker FOLDER`: it is known here only by its command line and its
protocol (`frames.py`). It runs one batch at a time, is killed when a run must stop, and is started
again for the next one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modelpad.engine.frames import (
    Call,
    Declared,
    Failure,
    FrameInvalid,
    Ready,
    Result,
    pack_arrays,
    receive_frame,
    send_frame,
)
from modelpad.engine.memory import resident_bytes
from modelpad.errors import BundleInvalid, MissingExtra, ModelFailed, ModelpadError

if TYPE_CHECKING:
    from modelpad.bundle import Bundle
    from modelpad.fields.arrays import Array, Arrays
    from modelpad.runtime import RunOptions

log = logging.getLogger("modelpad.engine")

WORKER = "modelpad.convert.native_worker"
POLL_S = 0.05  # between checks whether a run must stop
STALL_S = 60.0  # for the process to go on with a frame that it has begun
START_S = 300.0  # for the framework to be imported and the model to be loaded
EXIT_S = 1.0  # for a process whose connection broke to report how it ended
FIRST_PAUSE_S, MAX_PAUSE_S = 0.5, 30.0  # before starting again after crashes in a row
# Libraries that compute read the number of their threads from these.
THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
    *("NUMEXPR_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "LOKY_MAX_CPU_COUNT"),
)


@dataclass(frozen=True, slots=True)
class NativeValue:
    """An input or output, described as ONNX Runtime does."""

    name: str
    type: str
    shape: Sequence[int | str | None]


class Worker:
    """The process, and the connection to it.

    It ends when this object is closed or this process ends, however that happens: the process
    watches a pipe whose other end only this process holds.
    """

    def __init__(self, command: Sequence[str], threads: int) -> None:
        ours, theirs = socket.socketpair()
        lifeline, self._life = os.pipe()
        try:
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno()), str(lifeline)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), lifeline),
                env=make_environment(threads),
            )
        except OSError:
            ours.close()
            os.close(self._life)
            raise
        finally:
            theirs.close()
            os.close(lifeline)
        ours.settimeout(STALL_S)
        self._connection = ours
        self.begun = time.monotonic()
        self._end = weakref.finalize(self, _end_process, self._process, ours, self._life)

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def close(self) -> None:
        """Kills the process."""
        self._end()

    def call(self, header: Call, body: Sequence[memoryview]) -> None:
        """Sends a call. Raises `ModelFailed` if the process has ended."""
        with self._translated():
            send_frame(self._connection, header, body)

    def wait(self, stop: RunOptions | None, end: float | None = None) -> bool:
        """Waits for a frame; False if the run has to stop, or at `end`, before it comes."""
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        while not poll.poll(1000 * POLL_S):
            if (stop is not None and stop.terminate) or (end and time.monotonic() > end):
                return False
        return True

    def receive(self) -> tuple[object, Arrays]:
        """The next frame. Raises `ModelFailed` if the process has ended or sends nonsense."""
        with self._translated():
            return receive_frame(self._connection)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError) as error:
            raise Crashed(self._describe_end()) from error

    def _describe_end(self) -> str:
        try:
            code = self._process.wait(EXIT_S)
        except subprocess.TimeoutExpired:
            return "stopped responding"
        return f"crashed ({describe_exit(code)})"


class Crashed(Exception):
    """The process has ended, or no longer responds."""


@dataclass(slots=True)
class Crashes:
    """How often the process crashed in a row, and when it may start again."""

    count: int = 0
    until: float = field(default=0.0)

    def add(self, now: float) -> None:
        """Notes a crash: the process may start again at once after the first."""
        pause = 0.0 if not self.count else FIRST_PAUSE_S * 2.0 ** (self.count - 1)
        self.count += 1
        self.until = now + min(MAX_PAUSE_S, pause)


class NativeGraph:
    """A model in its own process, with the interface of `runtime.InferenceSession`."""

    def __init__(self, command: Sequence[str], framework: str, threads: int = 1) -> None:
        """Starts the process and waits for the model to be loaded.

        Raises:
            MissingExtra: the framework is not installed.
            BundleInvalid: the framework cannot read the model, or crashed over it.
        """
        self._command, self._framework, self._threads = command, framework, threads
        self._lock = threading.Lock()
        self._crashes = Crashes()
        self._worker: Worker | None = None
        self._ready: Ready | None = None
        try:
            self._open(None)
        except ModelFailed as error:
            self._drop()
            hint = "See the log for what the framework printed."
            raise BundleInvalid(error.message, hint=hint) from error

    def get_inputs(self) -> list[NativeValue]:
        """The model's inputs."""
        assert self._ready is not None
        return [_describe(each) for each in self._ready.inputs]

    def get_outputs(self) -> list[NativeValue]:
        """The model's outputs."""
        assert self._ready is not None
        return [_describe(each) for each in self._ready.outputs]

    def close(self) -> None:
        """Ends the process. It ends with this object, too."""
        self._drop()

    @property
    def pid(self) -> int | None:
        """The number of the process; None while there is none."""
        worker = self._worker
        return None if worker is None else worker.pid

    @property
    def process_bytes(self) -> int:
        """The memory that the process uses now; 0 if unknown."""
        pid = self.pid
        return 0 if pid is None else resident_bytes(pid)

    def run(
        self,
        output_names: Sequence[str],
        input_feed: Mapping[str, Array],
        run_options: RunOptions | None = None,
    ) -> list[Array]:
        """The outputs of those names. `run_options.terminate` stops the run.

        Raises:
            ModelFailed: the model raised an exception, its process crashed, or the run was stopped.
            MissingExtra, BundleInvalid: the process had to be started again, and cannot.
        """
        with self._turn(run_options):
            worker = self._open(run_options)
            outputs = self._call(worker, output_names, input_feed, run_options)
        return [outputs[name] for name in output_names]

    @contextlib.contextmanager
    def _turn(self, run_options: RunOptions | None) -> Iterator[None]:
        """Waits for other runs to end."""
        while not self._lock.acquire(timeout=POLL_S):
            if run_options is not None and run_options.terminate:
                raise self._stopped()
        try:
            yield
        finally:
            self._lock.release()

    def _open(self, stop: RunOptions | None) -> Worker:
        """The process with the model loaded; it goes on loading if this run stops."""
        if self._worker is not None and self._ready is not None:
            return self._worker
        worker = self._worker or self._start()
        self._worker = worker
        if not worker.wait(stop, worker.begun + START_S):
            if stop is not None and stop.terminate:
                raise self._stopped()
            self._drop()
            raise ModelFailed(
                f"{self._framework} took longer than {START_S:g} s to load the model."
            )
        header, _ = self._receive(worker)
        if isinstance(header, Failure):
            self._drop()
            raise start_error(header)
        if not isinstance(header, Ready):
            raise self._crashed("sent nonsense")
        self._ready = header
        return worker

    def _start(self) -> Worker:
        left_s = self._crashes.until - time.monotonic()
        if left_s > 0:
            raise ModelFailed(
                f"The {self._framework} process has crashed {self._crashes.count} times in a row;"
                f" it starts again in {left_s:.0f} s.",
                hint="See the server's log for what the framework printed.",
            )
        try:
            return Worker(self._command, self._threads)
        except OSError as error:
            raise ModelFailed(
                f"The {self._framework} process cannot be started: {error.strerror}."
            ) from error

    def _call(
        self,
        worker: Worker,
        output_names: Sequence[str],
        input_feed: Mapping[str, Array],
        stop: RunOptions | None,
    ) -> Arrays:
        try:
            parts, body = pack_arrays(input_feed)
            worker.call(Call(tuple(output_names), parts), body)
        except FrameInvalid as error:
            raise ModelFailed(f"The inputs cannot be sent to the model: {error}.") from error
        except Crashed as error:
            raise self._crashed(str(error)) from error
        if not worker.wait(stop):
            self._drop()
            raise self._stopped()
        header, outputs = self._receive(worker)
        if isinstance(header, Failure):
            self._crashes = Crashes()
            raise ModelFailed(header.message, hint=header.hint)
        if not isinstance(header, Result) or not set(output_names) <= set(outputs):
            raise self._crashed("sent nonsense")
        self._crashes = Crashes()
        return outputs

    def _receive(self, worker: Worker) -> tuple[object, Arrays]:
        try:
            return worker.receive()
        except Crashed as error:
            raise self._crashed(str(error)) from error
        except FrameInvalid as error:
            raise self._crashed(f"sent nonsense: {error}") from error

    def _crashed(self, what: str) -> ModelFailed:
        self._drop()
        self._crashes.add(time.monotonic())
        log.error("the %s process %s", self._framework, what)
        return ModelFailed(
            f"The {self._framework} process that runs the model {what}.",
            hint="It is started again for the next request.",
        )

    def _stopped(self) -> ModelFailed:
        return ModelFailed("The run was stopped.", hint="Try again, or raise --timeout.")

    def _drop(self) -> None:
        worker, self._worker, self._ready = self._worker, None, None
        if worker is not None:
            worker.close()


def open_native(bundle: Bundle, threads: int = 1) -> NativeGraph:
    """Starts the process of a native bundle. Raises as `NativeGraph`."""
    native = bundle.manifest.native
    assert native is not None
    if os.name != "posix":
        name = bundle.manifest.name
        raise BundleInvalid(
            f"{name} runs in {native.framework} itself, which needs Linux or macOS.",
            hint="Import it without --backend native, if ONNX can express the model.",
        )
    bundle.path(native.file)
    folder = str(bundle.folder.resolve())
    # -P: modules in the current folder must not stand in for installed ones.
    command = (sys.executable, "-P", "-m", WORKER, folder)
    return NativeGraph(command, native.framework, threads)


def make_environment(threads: int) -> dict[str, str]:
    """Ours without modelpad's settings, which may hold keys; with limits for frameworks."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("MODELPAD_")}
    return ours | limit_threads(threads)


def limit_threads(threads: int) -> dict[str, str]:
    """Environment variables that make a framework use so many threads, and print little."""
    return dict.fromkeys(THREAD_VARIABLES, str(threads)) | {
        "TF_NUM_INTEROP_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",  # idle threads sleep
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }


def start_error(failure: Failure) -> ModelpadError:
    """The error of a process that could not load its model."""
    if failure.kind == "MissingExtra":
        return MissingExtra(failure.package, extra=failure.extra)
    return BundleInvalid(failure.message, hint=failure.hint)


def describe_exit(code: int) -> str:
    """For example `SIGSEGV`, or `exit code 1`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _describe(tensor: Declared) -> NativeValue:
    return NativeValue(tensor.name, f"tensor({tensor.dtype})", tensor.shape)


def _end_process(process: subprocess.Popen[bytes], connection: socket.socket, life: int) -> None:
    with contextlib.suppress(OSError):
        process.kill()
    connection.close()
    os.close(life)
    process.wait()
