"""Host and Origin header fields, which decide whether a request is answered."""

from __future__ import annotations

from fuzz.models import refusals
from modelpad.server.security.origins import check_host, check_origin, choose_policy

DECODERS = ("modelpad.server.security.origins",)


def fuzz(data: bytes) -> None:
    """Two lines are a host and an origin."""
    host, _, origin = data.decode("latin-1").partition("\n")
    headers = {"host": host, "origin": origin}
    for policy in (None, choose_policy("127.0.0.1", ["models.example"], has_keys=False)):
        with refusals():
            check_host(policy, headers)
    with refusals():
        check_origin("POST", headers, ["https://models.example"])
