"""What a supervisor and its workers say to each other: lines of JSON on a socket pair.

A store's plan passes through the supervisor nearly as it is: what it says is for workers to read.
"""

from __future__ import annotations

import msgspec

from modelpad.server.observability.metrics import Snapshot


class Ready(msgspec.Struct, tag=True):
    """A worker accepts connections; there should be so many `workers`, and it serves `live`."""

    workers: int
    live: dict[str, int]


class Announce(msgspec.Struct, tag=True):
    """All workers are ready: this one tells the user."""


class Ping(msgspec.Struct, tag=True):
    """Is the event loop alive?"""


class Pong(msgspec.Struct, tag=True):
    """It is."""


class Stuck(msgspec.Struct, tag=True):
    """A worker's engine hangs: it is to be replaced."""

    reason: str


class Tell(msgspec.Struct, tag=True):
    """What did you count?"""


class Counted(msgspec.Struct, tag=True):
    """What a worker counted up to now."""

    snapshot: Snapshot


class Collect(msgspec.Struct, tag=True):
    """What did the others count? This worker, which asks, counted so much itself."""

    snapshot: Snapshot


class Collected(msgspec.Struct, tag=True):
    """What the others counted, those that are gone too."""

    snapshots: list[Snapshot]


class Look(msgspec.Struct, tag=True):
    """What does the store want?"""


class Plans(msgspec.Struct, tag=True):
    """What it wants, by name."""

    plans: dict[str, msgspec.Raw]


class Prepare(msgspec.Struct, tag=True):
    """Open what this plan wants, beside what is served."""

    change: int
    name: str
    plan: msgspec.Raw


class Prepared(msgspec.Struct, tag=True):
    """The versions that are open in a worker, and whether that is all that the plan wants."""

    change: int
    versions: list[int]
    whole: bool


class Apply(msgspec.Struct, tag=True):
    """Serve these versions now: they are open in every worker."""

    name: str
    plan: msgspec.Raw
    versions: list[int]


class Command(msgspec.Struct, tag=True):
    """An admin's order, from the worker that heard it to the supervisor, and from there to all."""

    number: int
    action: str
    name: str


class CommandResult(msgspec.Struct, tag=True):
    """A worker has done it; `kind` and `words` of the error where it could not."""

    number: int
    kind: str = ""
    words: str = ""


FromWorker = Ready | Pong | Stuck | Counted | Collect | Plans | Prepared | Command | CommandResult
FromSupervisor = (
    Announce | Ping | Tell | Collected | Look | Prepare | Apply | Command | CommandResult
)


class Goal(msgspec.Struct):
    """Of a store's plan, the version that the name means."""

    default_version: int


encode = msgspec.json.Encoder().encode
read_goal = msgspec.json.Decoder(Goal).decode
read_from_worker = msgspec.json.Decoder(FromWorker).decode
read_from_supervisor = msgspec.json.Decoder(FromSupervisor).decode


def write_line(message: FromWorker | FromSupervisor) -> bytes:
    """The message as it goes over the socket."""
    return encode(message) + b"\n"
