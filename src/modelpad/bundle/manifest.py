"""The manifest: a bundle's metadata. `docs/bundle-format.md` specifies the format."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from modelpad.bundle.sequence import SequenceModel, read_sequence
from modelpad.errors import BundleInvalid, UsageError
from modelpad.fields import Signature
from modelpad.foreign_json import (
    Json,
    as_object,
    boolean_at,
    integer_at,
    list_at,
    load_json,
    object_at,
    text_at,
)

FORMAT = 2
DEFAULT_SIGNATURE = "serving_default"  # TensorFlow's name for a model's main signature
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
RESERVED = frozenset({"manifest.json", "model.sig"})
REWRITE = "Write the bundle again from its source model."


def check_name(name: str) -> None:
    """Raises `UsageError` unless `name` is a valid model name."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a valid model name.",
            hint="Use ASCII letters, digits, '.', '_' and '-'; at most 128 characters.",
        )


@dataclass(frozen=True, slots=True)
class FileRecord:
    """The SHA-256 (in hex) and the size of a file in the bundle."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Sample:
    """An example: each input as `{"file": path}` or `{"value": JSON}`, and the expected output.

    A `generated` one only warms the model up; the page does not show it.
    """

    inputs: Mapping[str, Mapping[str, Json]]
    expected: Json = None
    generated: bool = False


@dataclass(frozen=True, slots=True)
class NativeModel:
    """The framework's own file, for a model that runs in its framework and has no ONNX graph.

    `format` is the file's format, by the name that `modelpad.convert` has for it; `file` is its
    path in the bundle.
    """

    framework: str
    format: str
    file: str

    def to_dict(self) -> dict[str, Json]:
        """The entry in the manifest."""
        return {"framework": self.framework, "format": self.format, "file": self.file}


@dataclass(frozen=True, slots=True)
class OtherSignature:
    """Another signature of the same model, with a graph of its own: a path in the bundle."""

    graph: str
    signature: Signature


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything about a model version except the content of its files."""

    name: str
    task: str
    signature: Signature
    title: str = ""
    summary: str = ""
    author: str = ""
    licence: str = ""
    created: str = ""
    source: Mapping[str, Json] = field(default_factory=dict)
    training: Mapping[str, Json] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    parity: Mapping[str, Json] | None = None
    samples: tuple[Sample, ...] = ()
    files: Mapping[str, FileRecord] = field(default_factory=dict)
    signature_name: str = DEFAULT_SIGNATURE
    other_signatures: Mapping[str, OtherSignature] = field(default_factory=dict)
    native: NativeModel | None = None
    sequence: SequenceModel | None = None
    format: int = FORMAT

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise BundleInvalid(
                f"{self.name!r} is not a valid model name.",
                hint="Use ASCII letters, digits, '.', '_' and '-'; at most 128 characters.",
            )

    @property
    def backend(self) -> str:
        """What runs the model: `onnx`, or `native` for its own framework."""
        return "onnx" if self.native is None else "native"

    @property
    def runs_in(self) -> str:
        """What runs the model, for people: `ONNX Runtime`, or `xgboost, in its own process`."""
        if self.native is None:
            return "ONNX Runtime"
        return f"{self.native.framework}, in its own process"

    def to_dict(self) -> dict[str, Json]:
        """The content of `manifest.json`."""
        preparations = self.signature.preparations()
        return {
            **self._describe_native(),
            **({} if self.sequence is None else {"sequence": self.sequence.to_dict()}),
            "format": self.format,
            "name": self.name,
            "task": self.task,
            "title": self.title,
            "summary": self.summary,
            "author": self.author,
            "licence": self.licence,
            "created": self.created,
            "signature": self.signature.to_dict(),
            "signature_name": self.signature_name,
            "other_signatures": {
                name: {"graph": other.graph, "signature": other.signature.to_dict()}
                for name, other in self.other_signatures.items()
            },
            "preparation": {**preparations},
            "source": {**self.source},
            "training": {**self.training},
            "metrics": {**self.metrics},
            "parity": None if self.parity is None else {**self.parity},
            "samples": [
                {
                    "inputs": {name: {**value} for name, value in sample.inputs.items()},
                    "expected": sample.expected,
                    "generated": sample.generated,
                }
                for sample in self.samples
            ],
            "files": {
                path: {"sha256": record.sha256, "bytes": record.bytes}
                for path, record in self.files.items()
            },
        }

    def _describe_native(self) -> dict[str, Json]:
        if self.native is None:
            return {}
        return {"backend": self.backend, "native": self.native.to_dict()}

    def to_json(self) -> bytes:
        """`manifest.json`: UTF-8, sorted keys, indented by two spaces, with a final newline."""
        text = json.dumps(
            self.to_dict(), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False
        )
        return (text + "\n").encode("utf-8")

    @classmethod
    def from_json(cls, body: bytes) -> Manifest:
        """Parses `manifest.json`.

        Raises:
            BundleInvalid: not JSON, another format version, or an invalid value.
        """
        try:
            record = load_json(body)
        except ValueError as error:
            raise BundleInvalid(f"manifest.json is not JSON: {error}.", hint=REWRITE) from error
        if not isinstance(record, dict):
            raise BundleInvalid("manifest.json is not a JSON object.", hint=REWRITE)
        if record.get("format") != FORMAT:
            raise BundleInvalid(
                f"The bundle has format {record.get('format')!r}; this modelpad reads {FORMAT}.",
                hint="Install the version of modelpad that wrote it, or a newer one.",
            )
        try:
            manifest = cls._from_record(record)
            manifest.to_json()  # rejects NaN, infinity and lone surrogates
            return manifest
        except (
            *(ArithmeticError, AttributeError, LookupError),
            *(RecursionError, TypeError, ValueError),
        ) as error:
            raise BundleInvalid(
                f"manifest.json is invalid: {type(error).__name__} {error}.", hint=REWRITE
            ) from error

    @classmethod
    def _from_record(cls, record: dict[str, Json]) -> Manifest:
        files = _read_files(record)
        return cls(
            name=text_at(record, "name"),
            task=text_at(record, "task"),
            signature=Signature.from_dict(object_at(record, "signature")),
            title=text_at(record, "title"),
            summary=text_at(record, "summary"),
            author=text_at(record, "author"),
            licence=text_at(record, "licence"),
            created=text_at(record, "created"),
            source=object_at(record, "source"),
            training=object_at(record, "training"),
            metrics=_read_metrics(record),
            parity=None if record["parity"] is None else object_at(record, "parity"),
            samples=tuple(_read_sample(each, files) for each in list_at(record, "samples")),
            files=files,
            signature_name=text_at(record, "signature_name"),
            other_signatures=_read_signatures(record, files),
            native=_read_native(record, files),
            sequence=read_sequence(record, files),
        )


def _read_native(record: dict[str, Json], files: Mapping[str, FileRecord]) -> NativeModel | None:
    backend = record.get("backend", "onnx")
    if backend == "onnx":
        return None
    if backend != "native":
        raise ValueError(f"unknown backend {backend!r}")
    native = object_at(record, "native")
    model = NativeModel(*(text_at(native, key) for key in ("framework", "format", "file")))
    if model.file not in files:
        raise ValueError(f"the native file {model.file!r} is not listed")
    return model


def _read_files(record: dict[str, Json]) -> dict[str, FileRecord]:
    files = {}
    for path, value in object_at(record, "files").items():
        check_path(path)
        file = as_object(value, path)
        files[path] = FileRecord(text_at(file, "sha256"), integer_at(file, "bytes"))
    return files


def _read_signatures(
    record: dict[str, Json], files: Mapping[str, FileRecord]
) -> dict[str, OtherSignature]:
    signatures = {}
    for name, value in object_at(record, "other_signatures").items():
        other = as_object(value, name)
        graph = text_at(other, "graph")
        if graph not in files:
            raise ValueError(f"the graph {graph!r} of the signature {name!r} is not listed")
        signature = Signature.from_dict(object_at(other, "signature"))
        signatures[name] = OtherSignature(graph, signature)
    return signatures


def _read_metrics(record: dict[str, Json]) -> dict[str, float]:
    metrics = {}
    for name, value in object_at(record, "metrics").items():
        if not isinstance(value, int | float):
            raise TypeError(f"the metric {name} is not a number")
        metrics[name] = float(value)
    return metrics


def _read_sample(record: Json, files: Mapping[str, FileRecord]) -> Sample:
    sample = as_object(record, "a sample")
    inputs = {}
    for name, value in object_at(sample, "inputs").items():
        inputs[name] = as_object(value, name)
        if "file" in inputs[name] and text_at(inputs[name], "file") not in files:
            raise ValueError(f"the sample file {inputs[name]['file']!r} is not listed")
        if not {"file", "value"} & set(inputs[name]):
            raise ValueError("a sample input has neither file nor value")
    return Sample(inputs, sample.get("expected"), boolean_at(sample, "generated"))


def check_path(path: str) -> None:
    """Raises `BundleInvalid` unless `path` is a plain relative path inside the bundle.

    The manifest itself and its digital signature are none of its files.
    """
    parts = PurePosixPath(path).parts
    plain = path == "/".join(parts) and "\\" not in path and ":" not in path and "\0" not in path
    if not parts or not plain or ".." in parts or path.startswith("/") or path in RESERVED:
        raise BundleInvalid(
            f"The bundle lists a file {path!r}, which is not a plain path inside it.",
            hint="Do not use this bundle unless you trust its author.",
        )
