"""The process that runs a native bundle's model: `python -m modelpad.convert.native_worker FOLDER`.

The server starts it, see `engine/native.py`. It opens the bundle's file just as an import does,
with the same checks and never with trust, and answers calls until the server ends. What the
framework prints goes to standard error, and cannot get between the frames.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from modelpad.bundle import open_bundle
from modelpad.convert.detect import detect_format, open_source
from modelpad.convert.native import is_native_format
from modelpad.convert.source import ImportRequest, SourceModel, TensorSpec
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
from modelpad.errors import BundleInvalid, MissingExtra, ModelpadError, first_line
from modelpad.fields.arrays import Array, Arrays

MAX_REASON = 300


def main(arguments: Sequence[str]) -> int:
    """Serves the bundle in FOLDER over a socket, until the other end of a pipe closes.

    `arguments` are the folder, and the file descriptors of the socket and of the pipe.
    """
    folder, connected, lifeline = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    os.dup2(2, 1)
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, signal.SIG_IGN)  # the server stops this process when it has drained
    end_with(lifeline)
    with socket.socket(fileno=connected) as connection:
        try:
            source = open_model(folder)
        except ModelpadError as error:
            send_frame(connection, describe_error(error))
            return 1
        send_frame(connection, Ready(_declare(source.inputs), _declare(source.outputs)))
        while serve_call(source, connection):
            pass
    return 0


def open_model(folder: Path) -> SourceModel:
    """The model of the native bundle in `folder`.

    Raises `BundleInvalid` if its file is of another format than the manifest says, and as
    `open_source`.
    """
    bundle = open_bundle(folder, verify=False)
    native = bundle.manifest.native
    if native is None:
        raise BundleInvalid(f"{folder} has an ONNX graph.", hint="It needs no process of its own.")
    path = bundle.path(native.file)
    found = detect_format(path)
    if found != native.format or not is_native_format(found):
        raise BundleInvalid(
            f"{native.file} is not in the format {native.format!r}, as the manifest says.",
            hint="Do not use this bundle unless you trust its author.",
        )
    return open_source(path, ImportRequest())


def serve_call(source: SourceModel, connection: socket.socket) -> bool:
    """Answers one call; False when there are no more."""
    try:
        header, inputs = receive_frame(connection)
    except (EOFError, OSError):
        return False
    assert isinstance(header, Call)
    try:
        outputs = _run(source, inputs)
        parts, body = pack_arrays({name: outputs[name] for name in header.outputs})
    except Exception as error:
        send_frame(connection, describe_error(error))
    else:
        send_frame(connection, Result(parts), body)
    return True


def _run(source: SourceModel, inputs: Arrays) -> Arrays:
    """The outputs, in the dtypes that the model declares."""
    outputs = source.run({spec.name: inputs[spec.name] for spec in source.inputs})
    return {spec.name: _cast(outputs[spec.name], spec.dtype) for spec in source.outputs}


def _cast(array: Array, dtype: str) -> Array:
    return array if dtype == "string" else array.astype(dtype, copy=False)


def describe_error(error: Exception) -> Failure:
    """The error as the server can show it."""
    kind = type(error).__name__
    if isinstance(error, MissingExtra):
        details = {key: str(error.details[key]) for key in ("package", "extra")}
        return Failure(kind, error.message, error.hint, **details)
    if isinstance(error, ModelpadError):
        return Failure(kind, error.message, error.hint)
    if isinstance(error, MemoryError):
        return Failure(kind, "There is not enough memory for this request.", "Send fewer items.")
    reason = str(error) if isinstance(error, FrameInvalid) else first_line(error, MAX_REASON)
    return Failure(kind, f"The model failed on this input: {reason}", "Check the values sent.")


def end_with(lifeline: int) -> None:
    """Ends this process when the other end of a pipe closes, whatever it is doing.

    On Linux the kernel sends a signal that ends it, even while a framework's code holds Python's
    lock. Elsewhere a thread waits.
    """
    if sys.platform == "linux":
        import fcntl

        signal.signal(signal.SIGIO, signal.SIG_DFL)
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETFL, os.O_ASYNC)

    def watch() -> None:
        os.read(lifeline, 1)
        os._exit(0)

    threading.Thread(target=watch, name="modelpad-lifeline", daemon=True).start()


def _declare(specs: Sequence[TensorSpec]) -> tuple[Declared, ...]:
    return tuple(Declared(spec.name, spec.dtype, spec.shape) for spec in specs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
