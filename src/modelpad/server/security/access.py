"""Access control by request headers: API keys, rate limits and admins, for every protocol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from modelpad.errors import Forbidden, NotFound, TooManyFailures, Unauthorized

if TYPE_CHECKING:
    from modelpad.server.observability.metrics import Metrics
    from modelpad.server.security.auth import ApiKeyAuth


class AccessControl:
    """Admits requests, and counts keys and failures in `metrics`."""

    def __init__(
        self, metrics: Metrics, auth: ApiKeyAuth | None = None, admins: Iterable[str] = ()
    ) -> None:
        """`admins` are the names of the keys whose owners may load and unload models."""
        self.admins = frozenset(admins)
        self._metrics = metrics
        self._auth = auth

    @property
    def wants_keys(self) -> bool:
        """Whether requests need an API key."""
        return self._auth is not None and self._auth.wants_keys

    def admit(
        self,
        headers: Mapping[str, str],
        *,
        guarded: bool = True,
        admin: bool = False,
        client: str = "",
    ) -> str:
        """Checks a request by its headers (lower-case names); `client` is its address.

        Gives the name of its API key, "" where none is needed.

        Raises:
            Unauthorized, TooManyFailures, RateLimited: it is `guarded`, and its key fails.
            NotFound: it is for an `admin`, and this server has none.
            Forbidden: it is for an `admin`, and the key is not one's.
        """
        name = ""
        if guarded and self._auth is not None:
            try:
                name = self._auth.admit(headers, client)
            except (Unauthorized, TooManyFailures) as error:
                self._metrics.count_key_failure(str(error.details["reason"]))
                raise
            self._metrics.count_key(name)
        if not admin:
            return name
        if not self.admins:
            raise NotFound(
                "Models cannot be loaded or unloaded over the network here.",
                hint="Start the server with API keys and: --admin NAME",
            )
        if name not in self.admins:
            raise Forbidden("This key may not load or unload models.", hint="Ask an admin.")
        return name

    def is_admin(self, owner: str) -> bool:
        """Whether the owner of a key may see everything; without keys everyone may."""
        return not self.wants_keys or owner in self.admins
