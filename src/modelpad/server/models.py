"""The models that this server has opened, by name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from modelpad.engine import Batcher, QueueLimits, Session, SessionSettings, allotted_cpus
from modelpad.errors import ModelNotFound, NotFound, suggest_name

if TYPE_CHECKING:
    from modelpad.bundle import Bundle


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One version of one model, opened and warm."""

    name: str
    version: int
    bundle: Bundle
    runner: Batcher

    @classmethod
    def load(
        cls, name: str, version: int, bundle: Bundle, limits: QueueLimits | None = None
    ) -> ServedModel:
        """Opens the bundle and answers its first sample. Raises `BundleInvalid`, `ModelFailed`."""
        session = Session(bundle, SessionSettings(threads=1))
        session.warm_up()
        runner = Batcher(session, threads=allotted_cpus(), limits=limits)
        return cls(name, version, bundle, runner)

    def describe(self) -> dict[str, Any]:
        """What the page needs to know: fields, samples and card."""
        manifest = self.bundle.manifest
        card = self.bundle.read_json("card.json") if "card.json" in manifest.files else None
        return {
            "name": self.name,
            "version": self.version,
            "task": manifest.task,
            "title": manifest.title,
            "summary": manifest.summary,
            "licence": manifest.licence,
            **manifest.signature.to_dict(),
            "samples": [
                {
                    "inputs": {
                        name: {"url": self._file_url(value["file"])} if "file" in value else value
                        for name, value in sample.inputs.items()
                    },
                    "expected": sample.expected,
                }
                for sample in manifest.samples
            ],
            "metrics": manifest.metrics,
            "card": card,
        }

    def read_file(self, path: str) -> bytes:
        """A sample or a report's file of the bundle; anything else is not found."""
        public = path.startswith(("samples/", "report/")) or path == "card.json"
        if not public or path not in self.bundle.manifest.files:
            raise NotFound(
                f"The model {self.name!r} has no public file {path!r}.",
                hint="Samples and report pictures are listed by GET /models.",
            )
        return self.bundle.path(path).read_bytes()

    def _file_url(self, path: str) -> str:
        return f"/models/{quote(self.name)}/files/{quote(path)}"


class ModelTable:
    """The served models by name; the first is the one that `/predict` means when alone."""

    def __init__(self, models: Iterable[ServedModel]) -> None:
        self._models = {model.name: model for model in models}
        self._description = json.dumps(
            {"models": [model.describe() for model in self._models.values()]},
            ensure_ascii=False,
            separators=(",", ":"),
        ).encode("utf-8")

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models.values())

    @property
    def description(self) -> bytes:
        """The JSON body of `GET /models`."""
        return self._description

    def find(self, name: str) -> ServedModel:
        """The model of that name. Raises `ModelNotFound`, naming those that exist."""
        if name not in self._models:
            raise ModelNotFound(
                f"No model named {name!r} is served here.",
                hint=suggest_name(name, self._models),
                known=sorted(self._models),
            )
        return self._models[name]

    def find_only(self) -> ServedModel:
        """The one model served. Raises `ModelNotFound` when there are several."""
        if len(self._models) != 1:
            raise ModelNotFound(
                f"{len(self._models)} models are served here, so the path must name one.",
                hint=f"Send to /predict/NAME with one of: {', '.join(sorted(self._models))}.",
                known=sorted(self._models),
            )
        return next(iter(self._models.values()))

    def close(self) -> None:
        """Stop all runners."""
        for model in self:
            model.runner.close()
