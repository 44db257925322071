"""Which sites may make a browser send requests here, and under which host names.

A browser sends requests on behalf of any page that it shows. Two attacks follow: a page of another
site sends a form or a script's request to this server (cross-site request forgery), and a page
points its own host name at this machine's address and becomes "same origin" (DNS rebinding). The
functions here decide from the request's headers alone; programs send none of these headers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

import msgspec

from modelpad.errors import ForeignOrigin, UnknownHost, UsageError

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
PORTS = {"http": "80", "https": "443"}
HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:/?#@\s,]+)(?::(\d*))?")
ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#\s]+)")
GIVEN_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s;,]+")  # may have a * for any port
ALLOWED = re.compile(r"\*|(\*\.)?[\w-]+(\.[\w-]+)*\.?")
ANY = "*"
NO_FRAMES = "frame-ancestors 'none'"
MAX_HOST_CHARS = 300  # a name has at most 253, and a port follows


class HostPolicy(msgspec.Struct, frozen=True):
    """Which `Host` headers are accepted: loopback names and addresses, and those in `allowed`.

    `allowed` holds names, `*.example.org` for all names below one, or `*` for any. With
    `addresses`, any IP address is accepted too: a page cannot rebind an address.
    """

    allowed: frozenset[str] = frozenset()
    addresses: bool = False

    def accepts(self, header: str) -> bool:
        """Whether a request with this `Host` header is accepted."""
        return len(header) <= MAX_HOST_CHARS and _accepts(self, header)

    def _decide(self, header: str) -> bool:
        found = split_host(header)
        if found is None:
            return False
        host = found[0]
        if ANY in self.allowed or host in self.allowed or is_loopback(host):
            return True
        if self.addresses and read_address(host) is not None:
            return True
        parts = host.split(".")
        return any(f"*.{'.'.join(parts[start:])}" in self.allowed for start in range(1, len(parts)))


@lru_cache(maxsize=256)  # an address takes longer to parse than all other checks of a request
def _accepts(policy: HostPolicy, header: str) -> bool:
    return policy._decide(header)


def choose_policy(bound: str, allowed: Iterable[str], *, has_keys: bool) -> HostPolicy | None:
    """The policy of a server bound to the address `bound`; None accepts every host.

    A rebound page has no API key, and other machines need no rebinding to reach a server that
    listens for them: only a server on loopback without keys is protected unless hosts are named.
    """
    names = frozenset(normalize_host(name) for name in allowed)
    on_loopback = is_loopback(bound)
    if not names and (has_keys or not on_loopback):
        return None
    return HostPolicy(names, addresses=not on_loopback)


def check_host(policy: HostPolicy | None, headers: Mapping[str, str]) -> None:
    """Raises `UnknownHost` for a `Host` that `policy` does not accept.

    Browsers always send `Host`; a probe over HTTP/1.0 without it is accepted.
    """
    host = headers.get("host")
    if policy is None or host is None or policy.accepts(host):
        return
    raise UnknownHost(
        f"This server does not accept the host name {host[:100]!r}.",
        hint="Use localhost, or start the server with: --allowed-host NAME",
    )


def check_origin(method: str, headers: Mapping[str, str], allowed: Collection[str]) -> None:
    """Raises `ForeignOrigin` when a page of another site sent a request that is not a plain read.

    `allowed` are the origins that may. `Sec-Fetch-Site` is decided by the browser and cannot be
    set by a page, so that it counts before a comparison of `Origin` with `Host`, which a proxy may
    have changed. `Origin: null` is a sandboxed page, and never this server's own.
    """
    if method in SAFE_METHODS or not is_foreign(headers, allowed):
        return
    sender = headers.get("origin", "")[:100]
    raise ForeignOrigin(
        f"A page of another site{f' ({sender})' if sender else ''} may not send this request.",
        hint="Start the server with: --cors-origin ORIGIN",
    )


def check_origins(option: str, origins: Iterable[str]) -> None:
    """Raises `UsageError` for a value of `option` that is not an origin."""
    for origin in origins:
        if not GIVEN_ORIGIN.fullmatch(origin):
            raise UsageError(
                f"{option} {origin!r} is not an origin.",
                hint="Give scheme, host and port only: https://example.org",
            )


def allow_frames(headers: Mapping[str, str], ancestors: Iterable[str]) -> dict[str, str]:
    """A response's headers, with which pages of the origins `ancestors` may show it in a frame.

    By default no page may, so that none can trick people into clicks on a page that they don't see.
    """
    policy = headers.get("content-security-policy", "")
    if NO_FRAMES not in policy:
        return dict(headers)
    allowed = policy.replace(NO_FRAMES, f"frame-ancestors 'self' {' '.join(ancestors)}")
    kept = {name: value for name, value in headers.items() if name != "x-frame-options"}
    return kept | {"content-security-policy": allowed}


def is_foreign(headers: Mapping[str, str], allowed: Collection[str]) -> bool:
    """Whether the browser reports that a page of another origin sent the request."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is None and site is None:
        return False
    if origin in allowed:
        return False
    if origin == "null":
        return True
    if site is not None:
        return site not in ("same-origin", "none")
    return not is_same_host(origin or "", headers.get("host", ""))


def is_same_host(origin: str, host: str) -> bool:
    """Whether an origin names this host and port; a proxy in front may add or remove TLS."""
    found = ORIGIN.fullmatch(origin)
    if found is None:
        return False
    theirs, ours = split_host(found[2]), split_host(host)
    if theirs is None or ours is None:
        return False
    default = PORTS.get(found[1], "")
    return (theirs[0], theirs[1] or default) == (ours[0], ours[1] or default)


def split_host(header: str) -> tuple[str, str] | None:
    """The host in lower case and the port ("" without one); None for an invalid header."""
    found = HOST.fullmatch(header.strip())
    if found is None:
        return None
    return normalize_host(found[1]), found[2] or ""


def normalize_host(host: str) -> str:
    """A host in lower case, without the brackets of IPv6 and the dot that may end a name."""
    return host.lower().removesuffix(".").strip("[]")


def is_loopback(host: str) -> bool:
    """Whether a host name or address always means this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = read_address(host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address is not None and address.is_loopback


def read_address(host: str) -> IPv4Address | IPv6Address | None:
    """The IP address; None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def is_host_pattern(text: str) -> bool:
    """Whether it can be given as an allowed host: a name, an address, `*.example.org` or `*`."""
    return ALLOWED.fullmatch(text.lower()) is not None or read_address(text.strip("[]")) is not None
