"""The request that most benchmarks send: a picture of a seven, for the bundled digits."""

from __future__ import annotations

import asyncio

from modelpad.client.load import Load, run_load, write_request
from modelpad.zoo import zoo_bundles

DIGITS = zoo_bundles()["digits"]
PICTURE = (DIGITS / "samples" / "7.png").read_bytes()
REQUEST = write_request("127.0.0.1", "/predict/digits", PICTURE, "image/png")


def send(port: int, connections: int, seconds: float, request: bytes = REQUEST) -> Load:
    """Sends the request over all connections, each as soon as it has a response."""
    work = run_load("127.0.0.1", port, request, connections=connections, seconds=seconds)
    return asyncio.run(work)
