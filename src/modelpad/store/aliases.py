"""A model's aliases, their history, its traffic split and its shadow version.

They are stored in `NAME/aliases.json`. This module does no I/O.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from modelpad.foreign_json import (
    Json,
    as_object,
    integer_at,
    list_at,
    load_json,
    object_at,
    optional_integer_at,
)

ALIASES = "aliases.json"
PRODUCTION, LATEST = "production", "latest"


@dataclass(frozen=True, slots=True)
class AliasState:
    """The aliases, previous `production` versions, and the highest version ever pushed.

    `traffic` is the split of requests by version, in percent. `shadow` is the version that receives
    copies of requests. `removed` are versions that count as removed though their files may still
    exist: a remote store has no other way to remove a version in one step.
    """

    aliases: dict[str, int] = field(default_factory=dict)
    history: list[int] = field(default_factory=list)
    highest: int = 0
    traffic: dict[int, int] = field(default_factory=dict)
    shadow: int | None = None
    removed: list[int] = field(default_factory=list)

    @classmethod
    def from_json(cls, body: bytes) -> AliasState:
        """Parses `aliases.json`. Raises `ValueError`."""
        try:
            record = as_object(load_json(body), "the file")
            aliases = object_at(record, "aliases")
            traffic = object_at(record, "traffic") if "traffic" in record else {}
            return cls(
                {alias: integer_at(aliases, alias) for alias in aliases},
                [_as_version(version) for version in list_at(record, "history")],
                integer_at(record, "highest"),
                {int(version): integer_at(traffic, version) for version in traffic},
                optional_integer_at(record, "shadow"),
                [_as_version(version) for version in list_at(record, "removed")]
                if "removed" in record
                else [],
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error

    def to_json(self) -> bytes:
        """The content of `aliases.json`."""
        record = {
            "aliases": self.aliases,
            "history": self.history,
            "highest": self.highest,
            "traffic": {str(version): share for version, share in self.traffic.items()},
            "shadow": self.shadow,
        } | ({"removed": self.removed} if self.removed else {})
        return json.dumps(record, indent=2, sort_keys=True).encode("utf-8")

    def point(self, alias: str, version: int) -> AliasState:
        """A copy with `alias` on `version`; a replaced `production` goes into the history."""
        history = list(self.history)
        if alias == PRODUCTION and self.aliases.get(alias, version) != version:
            history.append(self.aliases[alias])
        return replace(self, aliases=self.aliases | {alias: version}, history=history)

    def aliases_of(self, version: int) -> list[str]:
        """The aliases on `version`, sorted."""
        return sorted(alias for alias, target in self.aliases.items() if target == version)


@dataclass(frozen=True, slots=True)
class DesiredState:
    """The versions of a model that a server should load, and how it routes requests.

    Requests that name no version go to `default_version`, unless `traffic` splits them, in percent.
    `shadow` receives copies of requests; its predictions are discarded.
    """

    default_version: int
    versions: frozenset[int]
    aliases: Mapping[str, int] = field(default_factory=dict)
    traffic: Mapping[int, int] = field(default_factory=dict)
    shadow: int | None = None


def _as_version(value: Json) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("a version is not an integer")
    return value
