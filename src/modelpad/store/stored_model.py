"""One model of a store at one moment: its versions and state, and all decisions about them.

This module does no I/O: stores read a `StoredModel`, ask it for the next state, and write that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from modelpad.bundle.manifest import NAME
from modelpad.errors import StoreError, UsageError, VersionNotFound
from modelpad.store.aliases import LATEST, PRODUCTION, AliasState, DesiredState

MAX_DIGITS = 18


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model's versions, ascending, with its aliases, traffic and shadow."""

    name: str
    versions: tuple[int, ...]
    state: AliasState = field(default_factory=AliasState)

    @property
    def aliases(self) -> dict[str, int]:
        """Each alias's version, including `latest`, which is always the newest."""
        aliases = {k: v for k, v in self.state.aliases.items() if v in self.versions}
        return aliases | ({LATEST: self.versions[-1]} if self.versions else {})

    def has_named(self) -> bool:
        """Whether all versions that the state routes requests to are there."""
        named = {*self.state.aliases.values(), *self.state.traffic, self.state.shadow} - {None}
        return named <= {*self.versions, *self.state.removed}

    @property
    def next_version(self) -> int:
        """The number of the next push; that of a removed version is never reused."""
        return max([self.state.highest, *self.versions]) + 1

    def resolve(self, word: str = "") -> int:
        """The version that a number or an alias refers to.

        Without one it is the `production` version if set, else the newest. Raises
        `VersionNotFound`, which lists what exists.
        """
        aliases = self.aliases
        if not word and self.versions:
            return aliases.get(PRODUCTION, self.versions[-1])
        if is_number(word) and int(word) in self.versions:
            return int(word)
        if word in aliases:
            return aliases[word]
        known = [str(number) for number in self.versions] + sorted(aliases)
        raise VersionNotFound(
            f"{self.name} has no version or alias {word!r}.",
            hint=f"It has: {', '.join(known)}.",
            known=known,
        )

    def point(self, alias: str, version: int) -> AliasState:
        """The state with `alias` on `version`. Raises `UsageError` and `VersionNotFound`."""
        if alias == LATEST or alias.isdecimal() or not NAME.fullmatch(alias):
            raise UsageError(
                f"{alias!r} cannot be an alias.",
                hint="Use a word such as production or staging. latest is always the newest.",
            )
        return self.state.point(alias, self.resolve(str(version)))

    def promote(self, version: int) -> AliasState:
        """The state with `production` on `version`, for all requests. Raises `VersionNotFound`."""
        state = self.state.point(PRODUCTION, self.resolve(str(version)))
        return replace(state, traffic={}, shadow=None)

    def roll_back(self) -> AliasState:
        """The state with `production` on its previous version, else on the next lower one.

        Raises `VersionNotFound` if there is none.
        """
        now = self.resolve()
        history = [each for each in self.state.history if each in self.versions and each != now]
        lower = [number for number in self.versions if number < now]
        if not history and not lower:
            raise VersionNotFound(
                f"{self.name} has no version before {now}.",
                hint="There is nothing to roll back to.",
            )
        target = history.pop() if history else lower[-1]
        aliases = self.state.aliases | {PRODUCTION: target}
        return replace(self.state, aliases=aliases, history=history, traffic={}, shadow=None)

    def split(self, shares: Mapping[int, int]) -> AliasState:
        """The state with requests split in percent; no shares end the split.

        Raises `UsageError` if they do not add up to 100, and `VersionNotFound`.
        """
        if shares and (sum(shares.values()) != 100 or min(shares.values()) < 0):
            raise UsageError(
                f"The shares add up to {sum(shares.values())}, not to 100.",
                hint=f"For example: modelpad models traffic {self.name} 1=90 2=10",
            )
        for version in shares:
            self.resolve(str(version))
        traffic = {version: share for version, share in shares.items() if share}
        return replace(self.state, traffic=traffic)

    def shadow(self, version: int | None) -> AliasState:
        """The state with another shadow, or none. Raises `VersionNotFound`."""
        if version is not None:
            self.resolve(str(version))
        return replace(self.state, shadow=version)

    def check_unused(self, version: int, where: str) -> None:
        """Raises `StoreError` if requests may still be routed to `version`.

        `where` is the place of the whole model, for the hint about its only version.
        """
        shown = f"{self.name}@{version}"
        if aliases := self.state.aliases_of(version):
            hint = f"First: modelpad models alias {self.name} {aliases[0]} ANOTHER_VERSION"
            if len(self.versions) == 1:
                hint = f"It is the only version. To remove the model, delete {where}"
            raise StoreError(f"{shown} has the alias {', '.join(aliases)}.", hint=hint)
        if version in self.state.traffic:
            raise StoreError(
                f"{shown} receives {self.state.traffic[version]} % of the traffic.",
                hint=f"First: modelpad models traffic {self.name}",
            )
        if version == self.state.shadow:
            raise StoreError(
                f"{shown} is the shadow.", hint=f"First: modelpad models shadow {self.name} 0"
            )

    def plan(self, keep: int = 1, alias: str = "") -> DesiredState:
        """The versions that a server should load, and how it routes requests.

        These are the version that the name refers to, those in the traffic split, the shadow and,
        if `keep` is above 1, the newest `keep` versions. With an `alias`, its version takes the
        place of the name's; a traffic split and a shadow belong to the name, and are left out.

        Raises `VersionNotFound` without the alias.
        """
        default = self.resolve(alias)
        newest = self.versions[-keep:] if keep > 1 else ()
        traffic: dict[int, int] = {}
        shadow = None
        if not alias:
            traffic = {v: share for v, share in self.state.traffic.items() if v in self.versions}
            shadow = self.state.shadow if self.state.shadow in self.versions else None
        loaded = {default, *traffic, *newest} | ({shadow} if shadow is not None else set())
        aliases = {a: v for a, v in self.aliases.items() if v in loaded}
        split = traffic if sum(traffic.values()) == 100 else {}
        return DesiredState(default, frozenset(loaded), aliases, split, shadow)


def is_number(text: str) -> bool:
    """Whether a text is a version number, or a folder's name may be one."""
    return text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS
