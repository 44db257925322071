"""Named API keys and their rate limits.

Keys are stored as SHA-256 only. A key file is read again when it changes: no restart is needed.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
import time
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from modelpad.errors import RateLimited, TooManyFailures, Unauthorized, UsageError
from modelpad.server.security.rate_limits import RateLimiter

log = logging.getLogger("modelpad.server")

NAME = re.compile(r"[\w.-]{1,64}")
HASHED = re.compile(r"sha256:([0-9a-f]{64})")
LOOK_S = 1.0  # between checks of the key file
# Wrong keys from one address: ten at once, then six a minute. A missing key costs a tenth.
FAILURES_PER_S = 0.1
MAX_FAILURES = 10.0
MISSING_COST = 0.1
IPV6_HOST_BITS = 64  # of an address that its client may choose


def read_keys(text: str) -> dict[str, str]:
    """Names by the SHA-256 of their keys: `NAME=KEY` or `NAME=sha256:HEX`, one a line.

    Raises `UsageError` for a line that is neither.
    """
    names: dict[str, str] = {}
    for number, line in enumerate(re.split(r"[\n,]", text), 1):
        entry = line.partition("#")[0].strip()
        if not entry:
            continue
        name, equals, key = (part.strip() for part in entry.partition("="))
        if not equals or not NAME.fullmatch(name) or len(key) < 8:
            raise UsageError(
                f"API key {number} is not NAME=KEY, with a key of at least 8 characters.",
                hint="For example: ann=sha256:... with the output of: printf KEY | sha256sum",
            )
        hashed = HASHED.fullmatch(key)
        names[hashed[1] if hashed else hash_key(key)] = name
    return names


def hash_key(key: str) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def name_client(address: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 network of an IPv6 address."""
    try:
        known = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(known, IPv6Address):
        return str(known)
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return f"{int(known) >> IPV6_HOST_BITS:x}::/64"


class ApiKeyAuth:
    """Checks the API keys of requests: those in `text` and in the file `path`, if given.

    `rates` limits the requests of each key, or all requests where there are no keys. `failures`
    limits, for each client address, requests without a valid key.
    """

    def __init__(
        self,
        text: str = "",
        path: Path | None = None,
        rates: RateLimiter | None = None,
        failures: RateLimiter | None = None,
    ) -> None:
        """Raises `UsageError` when the keys cannot be read."""
        self.rates = rates
        self.failures = failures
        self._fixed = read_keys(text)
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._looked = 0.0
        self._logged = ""  # why the file cannot be read, as last logged
        self._names: Mapping[str, str] = self._fixed
        if path is not None:
            try:
                self._load(path)
            except OSError as error:
                raise UsageError(
                    f"The API keys in {path} cannot be read: {error.strerror}.",
                    hint="Give a file with NAME=KEY lines.",
                ) from error

    @property
    def wants_keys(self) -> bool:
        """Whether requests need a key."""
        return bool(self._fixed) or self._path is not None

    def admit(self, headers: Mapping[str, str], client: str = "") -> str:
        """The name of the key in a request's headers (lower case), "" where none is needed.

        `client` is the address that the request comes from. A valid key is always accepted, so that
        a client that guesses cannot lock out others behind the same address.

        Raises:
            Unauthorized: there is no key, or it is not valid.
            TooManyFailures: the same, from a client that failed too often.
            RateLimited: the key's owner sent too many requests.
        """
        name = self._find_name(headers, client) if self.wants_keys else ""
        if self.rates is not None:
            self._spend(self.rates, name)
        return name

    def _find_name(self, headers: Mapping[str, str], client: str) -> str:
        self._look()
        given = headers.get("x-api-key", "")
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            given = bearer.strip()
        # Looked up by its SHA-256, so timing reveals nothing about valid keys.
        name = self._names.get(hash_key(given)) if given else None
        if name is None:
            raise self._refuse(given, client)
        return name

    def _refuse(self, given: str, client: str) -> Unauthorized | TooManyFailures:
        cost = 1.0 if given else MISSING_COST
        wait_s = 0.0
        if self.failures is not None:
            wait_s = self.failures.acquire(name_client(client), cost=cost)
        if wait_s:
            return TooManyFailures(
                "Too many requests with a wrong API key, or none, came from this address.",
                hint="Wait, or send a valid key.",
                retry_after_s=math.ceil(wait_s),
                reason="limited",
            )
        return Unauthorized(
            "Unknown API key." if given else "An API key is required.",
            hint="Send it as: authorization: Bearer KEY",
            reason="wrong" if given else "missing",
        )

    def _spend(self, rates: RateLimiter, name: str) -> None:
        wait_s = rates.acquire(name)
        if wait_s:
            raise RateLimited(
                f"The rate limit is {rates.rate:g} requests a second.",
                hint="Send fewer requests.",
                retry_after_s=max(1, round(wait_s)),
            )

    def _look(self) -> None:
        now = time.monotonic()
        if self._path is None or now - self._looked < LOOK_S:
            return
        self._looked = now
        try:
            self._load(self._path)
        except (OSError, UsageError) as error:
            # Half written, or missing.
            if str(error) != self._logged:
                log.warning("%s cannot be read; the keys stay as they were: %s", self._path, error)
            self._logged = str(error)
        else:
            self._logged = ""

    def _load(self, path: Path) -> None:
        stat = path.stat()
        stamp = (stat.st_mtime_ns, stat.st_size)
        if stamp != self._stamp:
            try:
                text = path.read_text("utf-8")
            except UnicodeDecodeError as error:
                raise UsageError(
                    f"The API keys in {path} are not valid UTF-8: {error}.",
                    hint="Give a file with NAME=KEY lines.",
                ) from error
            self._names = self._fixed | read_keys(text)
            self._stamp = stamp
