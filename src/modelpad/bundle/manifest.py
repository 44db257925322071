"""The manifest: what a bundle says of itself. `docs/bundle-format.md` specifies it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from modelpad.errors import BundleInvalid
from modelpad.fields import Signature
from modelpad.foreign_json import load_json

FORMAT = 1
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
REWRITE = "Write the bundle again from its source model."


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file of the bundle: its SHA-256 in hex and its size in bytes."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Sample:
    """An example: each input as `{"file": path}` or `{"value": JSON}`, and the right answer."""

    inputs: Mapping[str, Mapping[str, Any]]
    expected: Any = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything about a model version but its files' content."""

    name: str
    task: str
    signature: Signature
    title: str = ""
    summary: str = ""
    licence: str = ""
    created: str = ""
    source: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    parity: Mapping[str, Any] | None = None
    samples: tuple[Sample, ...] = ()
    files: Mapping[str, FileRecord] = field(default_factory=dict)
    format: int = FORMAT

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise BundleInvalid(
                f"{self.name!r} is not a model's name.",
                hint="Use lower-case letters, digits, '.', '_' and '-'; at most 64 characters.",
            )

    def to_dict(self) -> dict[str, Any]:
        """The manifest as its JSON holds it."""
        prepared = {f.name: f.preparation() for f in self.signature.inputs}
        return {
            "format": self.format,
            "name": self.name,
            "task": self.task,
            "title": self.title,
            "summary": self.summary,
            "licence": self.licence,
            "created": self.created,
            "signature": self.signature.to_dict(),
            "preparation": {name: steps for name, steps in prepared.items() if steps},
            "source": dict(self.source),
            "training": dict(self.training),
            "metrics": dict(self.metrics),
            "parity": None if self.parity is None else dict(self.parity),
            "samples": [{"inputs": dict(s.inputs), "expected": s.expected} for s in self.samples],
            "files": {
                path: {"sha256": record.sha256, "bytes": record.bytes}
                for path, record in self.files.items()
            },
        }

    def to_json(self) -> bytes:
        """The bytes of `manifest.json`: UTF-8, keys sorted, two spaces, a newline at the end."""
        text = json.dumps(
            self.to_dict(), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False
        )
        return (text + "\n").encode("utf-8")

    @classmethod
    def from_json(cls, body: bytes) -> Manifest:
        """The manifest in these bytes.

        Raises:
            BundleInvalid: not JSON, of another format version, or a part makes no sense.
        """
        try:
            record = load_json(body)
        except ValueError as error:
            raise BundleInvalid(f"manifest.json is not JSON: {error}.", hint=REWRITE) from error
        if not isinstance(record, dict):
            raise BundleInvalid("manifest.json is not an object.", hint=REWRITE)
        if record.get("format") != FORMAT:
            raise BundleInvalid(
                f"The bundle's format is {record.get('format')!r}; this modelpad reads {FORMAT}.",
                hint="Install the modelpad that wrote it, or a newer one.",
            )
        try:
            manifest = cls._from_record(record)
            manifest.to_json()  # NaN, infinity and lone surrogates cannot be written again
            return manifest
        except (
            *(ArithmeticError, AttributeError, LookupError),
            *(RecursionError, TypeError, ValueError),
        ) as error:
            raise BundleInvalid(
                f"manifest.json makes no sense: {type(error).__name__} {error}.", hint=REWRITE
            ) from error

    @classmethod
    def _from_record(cls, record: dict[str, Any]) -> Manifest:
        files = {}
        for path, file in record["files"].items():
            check_path(path)
            files[path] = FileRecord(str(file["sha256"]), int(file["bytes"]))
        samples = tuple(Sample(dict(s["inputs"]), s.get("expected")) for s in record["samples"])
        for sample in samples:
            for value in sample.inputs.values():
                if "file" in value and value["file"] not in files:
                    raise ValueError(f"a sample's file {value['file']!r} is not listed")
                if not {"file", "value"} & set(value):
                    raise ValueError("a sample's input has neither file nor value")
        return cls(
            name=record["name"],
            task=str(record["task"]),
            signature=Signature.from_dict(record["signature"]),
            title=str(record["title"]),
            summary=str(record["summary"]),
            licence=str(record["licence"]),
            created=str(record["created"]),
            source=dict(record["source"]),
            training=dict(record["training"]),
            metrics={name: float(value) for name, value in record["metrics"].items()},
            parity=record["parity"],
            samples=samples,
            files=files,
        )


def check_path(path: str) -> None:
    """Raises `BundleInvalid` unless `path` stays inside the bundle, in plain form."""
    parts = PurePosixPath(path).parts
    plain = path == "/".join(parts) and "\\" not in path and ":" not in path and "\0" not in path
    if not parts or not plain or ".." in parts or path.startswith("/") or path == "manifest.json":
        raise BundleInvalid(
            f"The bundle lists a file {path!r}, which is not a plain path inside it.",
            hint="Do not use this bundle unless you know who made it.",
        )
