"""Host and Origin headers, which decide whether a request is accepted."""

from __future__ import annotations

from fuzz.models import allow_errors
from modelpad.server.security.origins import check_host, check_origin, choose_policy

DECODERS = ("modelpad.server.security.origins",)


def fuzz(data: bytes) -> None:
    """The input is two lines: a host and an origin."""
    host, _, origin = data.decode("latin-1").partition("\n")
    headers = {"host": host, "origin": origin}
    for policy in (None, choose_policy("127.0.0.1", ["models.example"], has_keys=False)):
        with allow_errors():
            check_host(policy, headers)
    with allow_errors():
        check_origin("POST", headers, ["https://models.example"])
