"""Ports for servers that tests start.

A port that the system chose may be taken by an outgoing connection before the server binds it, so
these are below the system's own range. Each process of a test run has a part of them for itself,
and gives each port once.
"""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
LEAST, COUNT, WORKERS = 20_000, 10_000, 20


def list_ports(worker: str, system: int, start: int) -> list[int]:
    """The ports of a worker of pytest-xdist, below the `system`'s, from the `start`-th on."""
    number = int(re.sub(r"\D", "", worker) or 0) % WORKERS
    share = COUNT // WORKERS
    first = max(system - COUNT, LEAST) + number * share
    return [first + (start + offset) % share for offset in range(share)]


def find_system_ports() -> int:
    """The first port that the system chooses itself; on Linux it can be set."""
    return int(RANGE.read_text().split()[0]) if RANGE.exists() else LEAST + COUNT


PORTS = iter(
    list_ports(
        os.environ.get("PYTEST_XDIST_WORKER", ""),
        find_system_ports(),
        os.getpid(),  # two runs at a time begin at different ones
    )
)


def find_port() -> int:
    """A port that is free, and that nobody else is given."""
    return next(filter(is_free, PORTS))


def is_free(port: int) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False
