"""The models that this server has opened, by name."""

from __future__ import annotations

import json
import logging
import random
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from modelpad.engine import (
    Batcher,
    BatchLimits,
    MemoryBudget,
    QueueLimits,
    Session,
    SessionSettings,
    TensorInfo,
    find_best_batch,
)
from modelpad.engine.calibration import UNMEASURED, choose_chunk_size, find_inline_batch
from modelpad.errors import (
    ModelNotFound,
    ModelpadError,
    NotFound,
    VersionNotFound,
    suggest_name,
)
from modelpad.server.http.messages import read_count

if TYPE_CHECKING:
    from modelpad.bundle import Bundle

log = logging.getLogger("modelpad.server")


MEASURE_AFTER_S = 1.0
PATIENCE = 3
CLOSE_S = 2.0
MAX_QUOTED_CHARS = 200  # of a client's name for a model, in an error


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How models are opened: their queue, the device, the batch (0 is measured, once idle), and
    how many batches may run at once, `threads`; with `memory` they are opened when first asked.

    Short batches may run on the event loop's thread where `inline`: another process must be there
    to notice a graph that hangs.
    """

    limits: QueueLimits = field(default_factory=QueueLimits)
    batch: int = 0
    device: str = "cpu"
    threads: int = 1
    memory: MemoryBudget | None = None
    inline: bool = False


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One version of one model, opened and warm; or, under a memory limit, opened when asked."""

    name: str
    version: int
    bundle: Bundle
    batcher: Batcher
    card: Any = None  # read when it is opened, as its folder may go while it is served

    @classmethod
    def load(
        cls, name: str, version: int, bundle: Bundle, options: LoadOptions | None = None
    ) -> ServedModel:
        """Opens the bundle and answers its first sample, unless memory is limited.

        Raises `BundleInvalid`, `ModelFailed`.
        """
        options = options or LoadOptions()
        card = bundle.read_json("card.json") if "card.json" in bundle.manifest.files else None
        settings = SessionSettings(threads=1, device=options.device)
        session = Session(bundle, settings, options.memory)
        if options.memory is None:
            session.warm_up()  # before there are threads that a failure would leave behind
        unmeasured = None if options.memory is None else UNMEASURED
        batches = BatchLimits(options.batch) if options.batch else unmeasured
        batcher = Batcher(session, threads=options.threads, limits=options.limits, batches=batches)
        if options.memory is None and not options.batch:
            batcher.run_later(MEASURE_AFTER_S, lambda: measure_batch(batcher, options.inline))
        return cls(name, version, bundle, batcher, card)

    @property
    def inputs(self) -> list[TensorInfo]:
        """The graph's inputs. Opens the graph where it never was; raises as that does."""
        return self.batcher.session.describe_tensors()[0]

    @property
    def outputs(self) -> list[TensorInfo]:
        """The graph's outputs, as `inputs`."""
        return self.batcher.session.describe_tensors()[1]

    def describe(self) -> dict[str, Any]:
        """What the page needs to know: fields, samples and card."""
        manifest = self.bundle.manifest
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
                        name: self._describe_value(value) for name, value in sample.inputs.items()
                    },
                    "expected": sample.expected,
                }
                for sample in manifest.samples
            ],
            "metrics": manifest.metrics,
            "card": self.card,
        }

    def read_file(self, path: str) -> bytes:
        """A sample or a report's file of the bundle; anything else is not found."""
        public = path.startswith(("samples/", "report/")) or path == "card.json"
        if not public or path not in self.bundle.manifest.files:
            raise NotFound(
                f"The model {self.name!r} has no public file {path!r}.",
                hint="Samples and report pictures are listed by GET /models.",
            )
        try:
            return self.bundle.path(path).read_bytes()
        except OSError as error:
            raise NotFound(
                f"The file {path} of {self.name!r} cannot be read: {error.strerror}.",
                hint="The model is served on from memory.",
            ) from error

    def _describe_value(self, value: Mapping[str, Any]) -> dict[str, Any]:
        if "file" in value:
            return {"url": self._file_url(value["file"])}
        return {"value": value["value"]}  # nothing else: a bundle must not name a URL

    def _file_url(self, path: str) -> str:
        return f"/models/{quote(self.name)}/files/{quote(path)}"


def measure_batch(batcher: Batcher, inline: bool = False, patience: int = PATIENCE) -> None:
    """Finds the best batch with the bundle's first sample.

    It is put off while requests wait, but not for ever. Where it may, a short batch is run `inline`
    from then on: only of a graph whose cost no input's values decide, as one that loops for ever
    would stop all models.
    """
    session = batcher.session
    samples = session.bundle.manifest.samples
    if not samples:
        return
    if batcher.waiting and patience:
        batcher.run_later(MEASURE_AFTER_S, lambda: measure_batch(batcher, inline, patience - 1))
        return
    try:
        sample = session.decode(session.sample_values(samples[0].inputs))
    except (ModelpadError, OSError):
        return
    limits, costs = find_best_batch(session, sample)
    short = find_inline_batch(costs) if inline else None
    if short is not None and not (session.can_split and session.is_bounded()):
        short = None
    best = short or limits
    batcher.batches = replace(best, chunk_size=choose_chunk_size(costs, best.max_batch_size))
    batcher.inline = short is not None
    where = "on the loop" if short else "by threads"
    log.info("%s: batches of %d %s; %s", session.title, best.max_batch_size, where, costs)


@dataclass(frozen=True, slots=True)
class ServedVersions:
    """The versions of one name that are open, and which of them a request gets.

    `live` is what the name alone means; `traffic` shares requests among versions, in percent.
    """

    name: str
    versions: Mapping[int, ServedModel]
    live: int
    aliases: Mapping[str, int] = field(default_factory=dict)
    traffic: Mapping[int, int] = field(default_factory=dict)
    shadow: int | None = None

    def choose(self, key: str | None = None) -> ServedModel:
        """The version for a request without a version: by its share; the same for the same key."""
        if not self.traffic:
            return self.versions[self.live]
        point = random.random() * 100 if key is None else zlib.crc32(key.encode()) % 10_000 / 100
        for version, share in self.traffic.items():
            point -= share
            if point < 0:
                return self.versions[version]
        return self.versions[self.live]

    def find(self, version: str) -> ServedModel:
        """The version of that number or alias. Raises `VersionNotFound`."""
        number = self.aliases.get(version) or read_count(version) or 0
        if version == "latest":
            number = max(self.versions)
        if number in self.versions:
            return self.versions[number]
        raise VersionNotFound(
            f"The model {self.name!r} has no version {version[:MAX_QUOTED_CHARS]!r} open here.",
            hint=f"Open: {', '.join(str(each) for each in sorted(self.versions))}.",
            known=sorted(self.versions),
        )


class ModelTable:
    """The served models by name; changed as a whole, so that no request sees half of a change."""

    def __init__(self, models: Iterable[ServedModel]) -> None:
        self._lines = {
            model.name: ServedVersions(model.name, {model.version: model}, model.version)
            for model in models
        }
        self._description: bytes | None = None

    def __iter__(self) -> Iterator[ServedModel]:
        return iter([line.versions[line.live] for line in self._lines.values()])

    @property
    def lines(self) -> Mapping[str, ServedVersions]:
        """Every name with its open versions."""
        return self._lines

    @property
    def versions(self) -> list[ServedModel]:
        """Every open version of every name."""
        return [model for line in self._lines.values() for model in line.versions.values()]

    def put(self, line: ServedVersions) -> None:
        """A name's versions from now on."""
        self._lines = {**self._lines, line.name: line}
        self._description = None

    def remove(self, name: str) -> ServedVersions:
        """Serves a name no more; answers its versions. Raises `ModelNotFound`."""
        line = self.find_line(name)
        self._lines = {other: kept for other, kept in self._lines.items() if other != name}
        self._description = None
        return line

    @property
    def description(self) -> bytes:
        """The JSON body of `GET /models`."""
        if self._description is None:
            self._description = json.dumps(
                {"models": [model.describe() for model in self]},
                ensure_ascii=False,
                separators=(",", ":"),
            ).encode("utf-8")
        return self._description

    def find_line(self, name: str) -> ServedVersions:
        """All versions of a name. Raises `ModelNotFound`, naming those that exist."""
        line = self._lines.get(name)
        if line is None:
            raise ModelNotFound(
                f"No model named {name[:MAX_QUOTED_CHARS]!r} is served here.",
                hint=suggest_name(name, self._lines),
                known=sorted(self._lines),
            )
        return line

    def find(self, name: str, version: str = "", key: str | None = None) -> ServedModel:
        """The model of that name, and of that version or alias where one is asked for.

        Raises `ModelNotFound` and `VersionNotFound`, naming those that exist.
        """
        line = self.find_line(name)
        return line.find(version) if version else line.choose(key)

    def find_only(self, key: str | None = None) -> ServedModel:
        """The one model served. Raises `ModelNotFound` when there are several, or none."""
        if not self._lines:
            raise ModelNotFound(
                "No model is served here.", hint="Its versions may have been unloaded.", known=[]
            )
        if len(self._lines) != 1:
            raise ModelNotFound(
                f"{len(self._lines)} models are served here, so the path must name one.",
                hint=f"Send to /predict/NAME with one of: {', '.join(sorted(self._lines))}.",
                known=sorted(self._lines),
            )
        return next(iter(self._lines.values())).choose(key)

    def close(self) -> None:
        """Stop all runners, and wait a moment until their threads have ended."""
        models = self.versions
        for model in models:
            model.batcher.close()
        for model in models:
            model.batcher.join(CLOSE_S)
