"""Messages between the supervisor and its workers: one JSON object a line, over a socket pair.

The supervisor forwards the desired state of a model as raw JSON and reads only which version the
name refers to: decoding the rest would make it import the store.
"""

from __future__ import annotations

import msgspec

from modelpad.server.observability.metrics import Snapshot

# A worker's life.


class Ready(msgspec.Struct, tag=True):
    """Worker: I accept connections and serve these `versions`; there should be `workers` of us."""

    workers: int
    versions: dict[str, int]


class AnnounceReady(msgspec.Struct, tag=True):
    """Supervisor: all workers are ready; tell the user."""


class Ping(msgspec.Struct, tag=True):
    """Supervisor: reply, to show that your event loop runs."""


class Pong(msgspec.Struct, tag=True):
    """Worker: the reply to a ping."""


class Stalled(msgspec.Struct, tag=True):
    """Worker: a model hangs, and only a new process can free it."""

    reason: str


# Metrics.


class RequestSnapshot(msgspec.Struct, tag=True):
    """Supervisor: send your metrics now."""


class MetricsSnapshot(msgspec.Struct, tag=True):
    """Worker: my metrics up to now."""

    snapshot: Snapshot


class CollectMetrics(msgspec.Struct, tag=True):
    """Worker: send me the metrics of the other workers; these are mine."""

    snapshot: Snapshot


class CollectedMetrics(msgspec.Struct, tag=True):
    """Supervisor: the metrics of the other workers, including those that have exited."""

    snapshots: list[Snapshot]


# Rollouts.


class RequestDesiredStates(msgspec.Struct, tag=True):
    """Supervisor: read the store and tell me what should be served."""


class DesiredStates(msgspec.Struct, tag=True):
    """Worker: the desired state of each model in the store, by name."""

    states: dict[str, msgspec.Raw]


class PrepareVersions(msgspec.Struct, tag=True):
    """Supervisor: load the versions in this state, but do not serve them yet."""

    rollout: int
    name: str
    state: msgspec.Raw


class VersionsPrepared(msgspec.Struct, tag=True):
    """Worker: these versions are loaded; `complete` when none of the desired ones is missing."""

    rollout: int
    versions: list[int]
    complete: bool


class ServeVersions(msgspec.Struct, tag=True):
    """Supervisor: serve these versions now; every worker has loaded them."""

    name: str
    state: msgspec.Raw
    versions: list[int]


# Commands of an admin.


class Command(msgspec.Struct, tag=True):
    """Load or unload a model: from the worker that got the request, then to every worker.

    `number` is the sender's own.
    """

    number: int
    action: str
    name: str


class CommandResult(msgspec.Struct, tag=True):
    """How a command ended: the class of the error and its text, both empty on success."""

    number: int
    error: str = ""
    message: str = ""


FromWorker = (
    Ready
    | Pong
    | Stalled
    | MetricsSnapshot
    | CollectMetrics
    | DesiredStates
    | VersionsPrepared
    | Command
    | CommandResult
)
FromSupervisor = (
    AnnounceReady
    | Ping
    | RequestSnapshot
    | CollectedMetrics
    | RequestDesiredStates
    | PrepareVersions
    | ServeVersions
    | Command
    | CommandResult
)


class _DefaultVersion(msgspec.Struct):
    default_version: int


encode = msgspec.json.Encoder().encode
read_from_worker = msgspec.json.Decoder(FromWorker).decode
read_from_supervisor = msgspec.json.Decoder(FromSupervisor).decode
_read_default = msgspec.json.Decoder(_DefaultVersion).decode


def write_line(message: FromWorker | FromSupervisor) -> bytes:
    """The encoded message."""
    return encode(message) + b"\n"


def read_default_version(state: bytes) -> int:
    """The version that the name refers to in an encoded `DesiredState`."""
    return _read_default(state).default_version
