"""What the names of one model mean: aliases, their history, shares of requests and the shadow.

The book is kept as `NAME/aliases.json`; this module knows its content and no files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from modelpad.foreign_json import load_json

ALIASES = "aliases.json"
PRODUCTION, LATEST = "production", "latest"


@dataclass(frozen=True, slots=True)
class AliasState:
    """What aliases mean, what `production` meant before, and the highest version ever pushed."""

    aliases: dict[str, int] = field(default_factory=dict)
    history: list[int] = field(default_factory=list)
    highest: int = 0
    traffic: dict[int, int] = field(default_factory=dict)
    shadow: int | None = None

    @classmethod
    def from_json(cls, body: bytes) -> AliasState:
        """The book in these bytes. Raises `ValueError` when they hold none."""
        try:
            record: Any = load_json(body)
            shadow = record.get("shadow")
            return cls(
                {str(alias): int(version) for alias, version in record["aliases"].items()},
                [int(version) for version in record["history"]],
                int(record["highest"]),
                {int(v): int(share) for v, share in record.get("traffic", {}).items()},
                None if shadow is None else int(shadow),
            )
        except (AttributeError, KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error

    def to_json(self) -> bytes:
        """The bytes of `aliases.json`."""
        record = {
            "aliases": self.aliases,
            "history": self.history,
            "highest": self.highest,
            "traffic": {str(version): share for version, share in self.traffic.items()},
            "shadow": self.shadow,
        }
        return json.dumps(record, indent=2, sort_keys=True).encode("utf-8")

    def point(self, alias: str, version: int) -> AliasState:
        """The book with `alias` on `version`; what `production` meant goes into the history."""
        history = list(self.history)
        if alias == PRODUCTION and self.aliases.get(alias, version) != version:
            history.append(self.aliases[alias])
        return replace(self, aliases=self.aliases | {alias: version}, history=history)

    def find_uses(self, version: int) -> list[str]:
        """The aliases that mean `version`, sorted."""
        return sorted(alias for alias, meant in self.aliases.items() if meant == version)


@dataclass(frozen=True, slots=True)
class DesiredState:
    """What a server should hold of one model: the versions, and who gets which.

    `live` is what the name alone means. `traffic` shares requests among versions, in percent; it is
    empty where all go to `live`. `shadow` gets a copy of each request, and is never heard.
    """

    live: int
    versions: frozenset[int]
    aliases: Mapping[str, int] = field(default_factory=dict)
    traffic: Mapping[int, int] = field(default_factory=dict)
    shadow: int | None = None
