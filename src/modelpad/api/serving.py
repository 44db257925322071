"""`modelpad.serve`: a server for scripts, notebooks and tests, in a process of its own.

It listens on this machine only. For others there is the command `modelpad serve`, with workers, API
keys and HTTPS.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from modelpad.bundle import Bundle
from modelpad.errors import ModelpadError, UsageError
from modelpad.locations import RemoteLocation, locate_cache, locate_store, split_location
from modelpad.server.child import read_error, write_options
from modelpad.server.options import (
    ModelOptions,
    NetworkOptions,
    SecurityOptions,
    ServeOptions,
    WorkerOptions,
)
from modelpad.server.security.origins import check_origins

if TYPE_CHECKING:
    from modelpad.client import Client


@runtime_checkable
class Version(Protocol):
    """A version of a model and its bundle's folder: what `load`, `save` and `train` return."""

    @property
    def name(self) -> str:
        """The model's name."""

    @property
    def version(self) -> int:
        """Its number."""

    @property
    def folder(self) -> Path:
        """The bundle's folder."""


Servable = str | os.PathLike[str] | Bundle | Version

# Where notebooks are shown, on this machine.
NOTEBOOKS = ("http://localhost:*", "http://127.0.0.1:*")
FRAME_HEIGHT = 640
STOP_TIMEOUT_S = 10.0
# The child finds its modules where this process does.
PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.stdin.buffer.readline());"
    "from modelpad.server.child import run_child; sys.exit(run_child())"
)
_running: set[Server] = set()  # so that a server whose variable is gone is not stopped


def serve(
    *models: Servable,
    port: int = 0,
    store: str | os.PathLike[str] | RemoteLocation | None = None,
    device: str = "cpu",
    frame_ancestors: Sequence[str] | None = None,
) -> Server:
    """Starts a server on this machine, and returns when it is ready.

        with modelpad.serve("digits") as server:
            print(server.url, server.client().predict("seven.png").label)

    A model is what `modelpad serve` takes (a name, a bundle's folder, a trained model's file), or
    what `load`, `save` and `train` return; without any, all models of the store are served. `port`
    0 is any free one. A notebook shows the page in a frame; `frame_ancestors` are the origins whose
    pages may, by default those of notebooks on this machine if this is one. The server stops with
    `stop()`, at the end of a `with` block, or when this process ends.

    Raises:
        ModelNotFound, VersionNotFound, BundleInvalid: as `load`.
        PortInUse: another program listens there.
        UsageError: two models have one name, or an origin is not valid.
    """
    location = locate_store(store, os.environ).absolute()
    url, folder = split_location(location)
    if frame_ancestors is None:
        frame_ancestors = NOTEBOOKS if "ipykernel" in sys.modules else ()
    check_origins("frame_ancestors", frame_ancestors)
    options = ServeOptions(
        models=ModelOptions(
            store=folder,
            store_url=url,
            cache=locate_cache(os.environ).absolute(),
            names=tuple(name_model(model, folder) for model in models),
            device=device,
        ),
        network=NetworkOptions(port=port),
        security=SecurityOptions(frame_ancestors=tuple(frame_ancestors)),
        workers=WorkerOptions(count=1),
    )
    return Server(options)


class Server:
    """A running server: a context manager, which a notebook shows as its page."""

    def __init__(self, options: ServeOptions) -> None:
        """Starts it. Raises as `serve`."""
        self._process = start_process(options)
        try:
            ready = self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        self.url: str = ready["url"]
        self.models: Mapping[str, int] = ready["models"]
        _running.add(self)

    @property
    def is_running(self) -> bool:
        """Whether its process is alive."""
        return self._process.poll() is None

    def client(self, **options: Any) -> Client:
        """A `modelpad.Client` of this server; the options are the client's.

        Raises `MissingExtra` without the extra `client`.
        """
        from modelpad.client import Client

        return Client(self.url, **options)

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Stops it; requests in flight finish first, within `timeout_s`. Idempotent."""
        _running.discard(self)
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        if not process.stdin.closed:
            process.stdin.close()
        if os.name == "posix":
            process.terminate()  # a process forked from this one may hold the pipe open
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def wait(self) -> None:
        """Waits until the server stops; Ctrl-C stops it."""
        try:
            self._process.wait()
        except KeyboardInterrupt:
            self.stop()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        names = ", ".join(f"{name} version {version}" for name, version in self.models.items())
        return f"<Server of {names} at {self.url}{'' if self.is_running else ', stopped'}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the page in a frame, and its address."""
        url, names = escape(self.url), escape(", ".join(self.models))
        if not self.is_running:
            return f"<div>The server of {names} has stopped.</div>"
        return (
            f'<iframe src="{url}" title="modelpad: {names}" width="100%" height="{FRAME_HEIGHT}"'
            ' style="border:1px solid #8884;border-radius:6px"'
            ' allow="camera; microphone; clipboard-write"></iframe>'
            f'<div><small>{names} at <a href="{url}" target="_blank">{url}</a></small></div>'
        )

    def _wait_until_ready(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message: dict[str, Any] = json.loads(line)
            if "ready" in message:
                ready: dict[str, Any] = message["ready"]
                return ready
            if "error" in message:
                raise read_error(message["error"])
            print(message["report"], file=sys.stderr, flush=True)
        raise ModelpadError(
            f"The server stopped with exit code {self._process.wait()}.",
            hint="Its standard error says why.",
        )


def start_process(options: ServeOptions) -> subprocess.Popen[bytes]:
    """Starts the process; Ctrl-C, or an interrupted notebook cell, does not reach it."""
    flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=os.name == "posix",
        creationflags=flags,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(sys.path).encode("ascii") + b"\n" + write_options(options))
    process.stdin.flush()
    return process


def name_model(model: Servable, store: Path) -> str:
    """What `modelpad serve` would be given for a model. Raises `UsageError` for other objects."""
    if isinstance(model, str | os.PathLike):
        return os.fspath(model)
    if isinstance(model, Bundle):
        return f"{model.manifest.name}={model.folder.absolute()}"
    if not isinstance(model, Version):
        raise UsageError(
            f"{type(model).__name__} is not a model that can be served.",
            hint='Save it first: modelpad.save(model, "NAME")',
        )
    folder = model.folder.absolute()
    version = folder.name.partition("-")[0]  # followed by a checksum in a cache
    if folder.parent == store / model.name and version == str(model.version):
        return f"{model.name}@{model.version}"
    return f"{model.name}={folder}"
