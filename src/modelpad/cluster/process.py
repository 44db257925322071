"""Runs an order as a process of its own, on whichever machine a cluster chose."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from modelpad.cluster.inputs import DATA_SETS, pack, unpack
from modelpad.cluster.order import RETURNED, Finished, Order
from modelpad.training.parallel import Place

PAUSE_S = 0.5  # between two reports
READ_BYTES = 65536
PREFIX = "MODELPAD_"
DEFAULTS = f"{PREFIX}TRAIN_"  # how variables begin that are defaults of trainings
# Ray's processes block SIGINT, which their children inherit; a training ends with Ctrl-C.
START = """
import json, signal, sys
from modelpad.confine import die_with_parent
die_with_parent()
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
place = json.loads(sys.argv[1])
if place:
    from modelpad.training.parallel import Place, join
    join(Place(**place))
from modelpad.cli.main import main
sys.exit(main(sys.argv[2:]))
"""
Report = Callable[[bytes], int]


@dataclass(frozen=True, slots=True)
class Member:
    """A process of a team: its place, none for a process on its own, and variables of its own."""

    place: Place | None = None
    variables: Mapping[str, str] = field(default_factory=dict)


def run_order(order: Order, report: Report, member: Member = Member()) -> Finished:
    """Trains, and returns what came of it.

    `report` gets what is printed, at least every half second, and tells how often the training
    has been interrupted so far.
    """
    with tempfile.TemporaryDirectory(prefix="modelpad-train-") as name:
        folder = Path(name)
        unpack(order.inputs, folder)
        with start(order, folder, member) as (process, log):
            follow(process, log, report)
        code = process.wait()
        return collect(folder, code)


@contextmanager
def start(
    order: Order, folder: Path, member: Member
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The process, and what its log can be read from; killed if the block is left early."""
    log, inlet = open_log(order.columns)
    place = json.dumps(member.place and asdict(member.place))
    try:
        with (folder / "facts.json").open("wb") as output:
            process = subprocess.Popen(
                [*(sys.executable, "-P", "-c", START, place), "train", *order.arguments, "--json"],
                cwd=folder,
                env={**list_variables(folder), **member.variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=inlet,
                start_new_session=True,
            )
    finally:
        os.close(inlet)
    try:
        yield process, log
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(log)


def open_log(columns: int) -> tuple[int, int]:
    """Two ends of a pipe; of a terminal of that width, so that progress is redrawn."""
    if not columns:
        return os.pipe()
    import pty
    import termios

    log, inlet = pty.openpty()
    settings = termios.tcgetattr(inlet)
    settings[1] &= ~termios.OPOST  # lines end as the training writes them
    termios.tcsetattr(inlet, termios.TCSANOW, settings)
    termios.tcsetwinsize(inlet, (24, columns))
    return log, inlet


def list_variables(folder: Path) -> dict[str, str]:
    """The machine's own variables, with the data sets that were sent before those it has.

    Its defaults for trainings are left out: the order says what differs from modelpad's own.
    """
    own = {name: n for name, n in os.environ.items() if not name.startswith(DEFAULTS)}
    roots = [str(folder / DATA_SETS), *filter(None, [own.get("MODELPAD_DATA")])]
    return own | {"MODELPAD_DATA": os.pathsep.join(roots)}


def follow(process: subprocess.Popen[bytes], log: int, report: Report) -> None:
    """Reports what the process prints, and interrupts it when that is wanted, until it ends."""
    interrupts, is_open = 0, True
    while is_open:
        text, is_open = read_for(log, PAUSE_S)
        wanted = report(text)
        if wanted > interrupts:
            interrupts += 1  # one at a time: two in a row would count as one
            process.send_signal(signal.SIGINT)


def read_for(log: int, seconds: float) -> tuple[bytes, bool]:
    """What can be read within that time, and whether more may come."""
    parts: list[bytes] = []
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([log], [], [], left)[0]:
            break
        try:
            part = os.read(log, READ_BYTES)
        except OSError:  # how a terminal ends on Linux
            part = b""
        if not part:
            return b"".join(parts), False
        parts.append(part)
    return b"".join(parts), True


def collect(folder: Path, code: int) -> Finished:
    """What came of a training that ended with an exit code; nothing, of a follower in a team."""
    output = (folder / "facts.json").read_bytes()
    if code != 0 or not output:
        return Finished(code)
    facts = json.loads(output)
    run = folder / facts["run"]
    found = {name: run / name for name in RETURNED if (run / name).exists()}
    return Finished(code, facts, pack(found))
