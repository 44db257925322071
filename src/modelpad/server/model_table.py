"""Which models are served: every name with its versions, and which version a request gets."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from modelpad.errors import ModelNotFound, VersionNotFound, suggest_name
from modelpad.foreign_json import dump_json
from modelpad.server.http.messages import read_count
from modelpad.server.models import ServedModel

CLOSE_S = 2.0
MAX_QUOTED_CHARS = 200  # of a client's model name, in an error


class Extras(msgspec.Struct, frozen=True):
    """What the page may offer besides predictions."""

    feedback: bool = False
    studio: bool = False
    videos: bool = False


class ServedVersions(msgspec.Struct, frozen=True):
    """The loaded versions of one model.

    `default` is the version that the plain name refers to; `traffic` splits requests among
    versions, in percent; `shadow` is the version that receives a copy of every request.
    """

    name: str
    versions: Mapping[int, ServedModel]
    default: int
    aliases: Mapping[str, int] = {}
    traffic: Mapping[int, int] = {}
    shadow: int | None = None

    @property
    def default_model(self) -> ServedModel:
        """The version that the bare name means."""
        return self.versions[self.default]

    @property
    def is_full(self) -> bool:
        """Whether the queue of every version is full."""
        for model in self.versions.values():  # noqa: SIM110 -- twice as fast, on every request
            if not model.batcher.is_full:
                return False
        return True

    def choose(self, key: str | None = None) -> ServedModel:
        """The version for a request that names none: by traffic split, sticky for one `key`."""
        if not self.traffic:
            return self.versions[self.default]
        point = random.random() * 100 if key is None else zlib.crc32(key.encode()) % 10_000 / 100
        for version, share in self.traffic.items():
            point -= share
            if point < 0:
                return self.versions[version]
        return self.versions[self.default]

    def find(self, version: str) -> ServedModel:
        """The version with that number or alias. Raises `VersionNotFound`."""
        number = self.aliases.get(version) or read_count(version) or 0
        if version == "latest":
            number = max(self.versions)
        if number in self.versions:
            return self.versions[number]
        raise VersionNotFound(
            f"The model {self.name!r} has no version {version[:MAX_QUOTED_CHARS]!r} loaded here.",
            hint=f"Loaded: {', '.join(str(each) for each in sorted(self.versions))}.",
            known=sorted(self.versions),
        )


class ModelTable:
    """The served models by name. Each change replaces the mapping: no request sees half of one."""

    def __init__(self, models: Iterable[ServedModel]) -> None:
        """Of several versions of a model, the newest is the default."""
        versions: dict[str, dict[int, ServedModel]] = {}
        for model in models:
            versions.setdefault(model.name, {})[model.version] = model
        self._served: dict[str, ServedVersions] = {
            name: ServedVersions(name, each, max(each)) for name, each in versions.items()
        }
        self._descriptions: dict[Extras, bytes] = {}

    def __iter__(self) -> Iterator[ServedModel]:
        """The default version of every model."""
        return iter([served.default_model for served in self._served.values()])

    @property
    def served(self) -> Mapping[str, ServedVersions]:
        """Every model name with its loaded versions."""
        return self._served

    @property
    def versions(self) -> list[ServedModel]:
        """Every loaded version of every model."""
        return [model for served in self._served.values() for model in served.versions.values()]

    def put(self, served: ServedVersions) -> None:
        """Replaces the versions of one name."""
        self._served = {**self._served, served.name: served}
        self._descriptions.clear()

    def remove(self, name: str) -> ServedVersions:
        """Stops serving a name and returns its versions. Raises `ModelNotFound`."""
        removed = self.find_versions(name)
        self._served = {other: kept for other, kept in self._served.items() if other != name}
        self._descriptions.clear()
        return removed

    def describe(self, extras: Extras | None = None) -> bytes:
        """The JSON body of `GET /models`."""
        extras = extras or Extras()
        if extras not in self._descriptions:
            models = [
                {**served.default_model.describe(), "versions": sorted(served.versions)}
                for served in self._served.values()
            ]
            described = {"models": models, **msgspec.structs.asdict(extras)}
            self._descriptions[extras] = dump_json(described)
        return self._descriptions[extras]

    def find_versions(self, name: str) -> ServedVersions:
        """All loaded versions of a name. Raises `ModelNotFound`, listing the names that exist."""
        served = self._served.get(name)
        if served is None:
            raise ModelNotFound(
                f"No model named {name[:MAX_QUOTED_CHARS]!r} is served here.",
                hint=suggest_name(name, self._served),
                known=sorted(self._served),
            )
        return served

    def find(self, name: str, version: str = "", key: str | None = None) -> ServedModel:
        """The model of that name; of that version or alias where one is given.

        Raises `ModelNotFound` and `VersionNotFound`, listing those that exist.
        """
        served = self.find_versions(name)
        return served.find(version) if version else served.choose(key)

    def find_only(self, key: str | None = None) -> ServedModel:
        """The one model served. Raises `ModelNotFound` when there are several, or none."""
        if not self._served:
            raise ModelNotFound(
                "No model is served here.", hint="Its versions may have been unloaded.", known=[]
            )
        if len(self._served) != 1:
            raise ModelNotFound(
                f"{len(self._served)} models are served here, so the path must name one.",
                hint=f"Send to /predict/NAME with one of: {', '.join(sorted(self._served))}.",
                known=sorted(self._served),
            )
        return next(iter(self._served.values())).choose(key)

    def get(self, name: str) -> ServedVersions | None:
        """The versions of a name, if it is served; "" is the only model."""
        if not name and len(self._served) == 1:
            return next(iter(self._served.values()))
        return self._served.get(name)

    def find_shadow(self, model: ServedModel) -> ServedModel | None:
        """The version that shadows `model`, if any."""
        served = self._served.get(model.name)
        if served is None or served.shadow is None or served.shadow == model.version:
            return None
        return served.versions[served.shadow]

    def label(self, name: str) -> str:
        """The name as a metric's label: "" for unknown names, which could grow without bound.

        "" means the one model served, where there is only one.
        """
        if not name and len(self._served) == 1:
            return next(iter(self._served))
        return name if name in self._served else ""

    def close(self) -> None:
        """Stops every batcher, and waits briefly for their threads to end."""
        models = self.versions
        for model in models:
            model.batcher.close()
        for model in models:
            model.batcher.join(CLOSE_S)
