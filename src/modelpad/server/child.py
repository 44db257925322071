"""A server in a process of its own, which lives as long as the process that has started it.

The parent writes the options to standard input, as a line of JSON. Standard output has a line of
JSON for each message: `{"report": text}`, then `{"ready": ...}` or `{"error": ...}`. The end of
standard input, which also comes when the parent dies, stops the server as SIGTERM does.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from modelpad import errors
from modelpad.errors import ModelpadError
from modelpad.server.options import RunningServer, ServeEvents, ServeOptions

Message = dict[str, Any]


def write_options(options: ServeOptions) -> bytes:
    """The line for the standard input of a child."""
    return msgspec.json.encode(options, enc_hook=str) + b"\n"


def read_options(line: bytes) -> ServeOptions:
    """The inverse of `write_options`."""
    return msgspec.json.decode(line, type=ServeOptions, dec_hook=lambda _, value: Path(value))


def run_child() -> int:
    """Serves until standard input ends. Returns the exit code."""
    from modelpad.server.launch import launch

    write = open_messages()
    options = read_options(sys.stdin.buffer.readline())
    threading.Thread(target=stop_at_end, args=[sys.stdin.buffer], daemon=True).start()
    events = ServeEvents(
        report=lambda line: write({"report": line}),
        ready=lambda server: write({"ready": describe_server(server)}),
    )
    try:
        return launch(options, events)
    except ModelpadError as error:
        write({"error": describe_error(error)})
        return 1


def open_messages() -> Callable[[Message], None]:
    """Writes messages where standard output was, which from now on is standard error.

    So nothing that a library prints is taken for a message, or fills a pipe that nobody reads.
    """
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return lambda message: write_message(out, message)


def write_message(out: BinaryIO, message: Message) -> None:
    """Writes a line, unless the parent is gone."""
    try:
        out.write(msgspec.json.encode(message, enc_hook=str) + b"\n")
    except OSError:
        return


def stop_at_end(source: BinaryIO) -> None:
    """Stops this process, as SIGTERM does, when `source` ends."""
    source.read()
    if os.name == "posix":
        os.kill(os.getpid(), signal.SIGTERM)  # to the main thread, which may be waiting
    else:
        signal.raise_signal(signal.SIGTERM)


def describe_server(server: RunningServer) -> Message:
    """Where a server is, and the version of each model."""
    versions = {model.name: model.version for model in server.models}
    return {"url": server.address.url, "models": versions}


def describe_error(error: ModelpadError) -> Message:
    """An error as JSON."""
    kind = type(error).__name__
    return {
        "kind": kind,
        "message": error.message,
        "hint": error.hint,
        "details": error.details,
    }


def read_error(record: Message) -> ModelpadError:
    """The inverse of `describe_error`."""
    kind = getattr(errors, record["kind"], ModelpadError)
    error: ModelpadError = kind.__new__(kind)  # some have constructors of their own
    ModelpadError.__init__(error, record["message"], hint=record["hint"], **record["details"])
    return error
