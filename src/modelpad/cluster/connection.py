"""Finds a Ray cluster, or starts one on this machine. Ray reports nothing to its makers."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from modelpad.cluster.options import LOCAL
from modelpad.errors import MissingExtra, UsageError, first_line

# What Ray reads when it is imported. A busy machine needs more than its few seconds to start.
VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "120",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "60",
}
TOKEN = Path("~/.ray/auth_token").expanduser()  # of `ray get-auth-token --generate`


def load_ray() -> ModuleType:
    """The `ray` package, with its usage statistics off. Raises `MissingExtra`."""
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
        import ray.serve
    except ImportError as error:
        raise MissingExtra("ray", extra="ray") from error
    found: ModuleType = ray
    return found


def send_token() -> None:
    """Makes a client send the token that this machine has, which it does not do by itself.

    Only before Ray is imported, as it has read the variable then.
    """
    has_token = os.environ.get("RAY_AUTH_TOKEN") or TOKEN.is_file()
    if has_token and "ray" not in sys.modules:
        os.environ.setdefault("RAY_AUTH_MODE", "token")


@contextmanager
def connect(address: str) -> Iterator[ModuleType]:
    """Ray, connected to the cluster at an address; one that was started here ends afterwards.

    Raises `UsageError` if there is no cluster, and `MissingExtra`.
    """
    if address != LOCAL:
        send_token()
    ray = load_ray()
    own = {"include_dashboard": False} if address == LOCAL else {}
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):  # the error says it all
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", **own)
    except Exception as error:
        raise UsageError(
            f"No Ray cluster was found at {address}: {first_line(error, 200)}",
            hint="Give the address of its head, such as ray://HOST:10001, or: --on local. A"
            " cluster with a token needs RAY_AUTH_MODE=token and the same token here.",
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()
