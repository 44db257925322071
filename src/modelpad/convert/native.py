"""The native backend: a bundle keeps the framework's own file, and that framework runs it.

It is for models that ONNX cannot express, or not with the same predictions. Only formats that can
be read without running code from the file are kept. `native_worker.py` opens them again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from modelpad.bundle import Manifest, NativeModel
from modelpad.convert.detect import detect_format
from modelpad.convert.parity import BATCHES, Parity, check_parity
from modelpad.convert.prove import (
    FEW_SAMPLES,
    LARGE_BATCH,
    Claim,
    GraphFacts,
    Proved,
    measure_latency,
)
from modelpad.convert.source import ImportRequest, SourceModel
from modelpad.convert.typed_check import open_draft
from modelpad.engine import Session
from modelpad.errors import ConversionFailed, NotTrusted, ParityFailed, UsageError
from modelpad.fields import Signature

# The names that files of each format are kept by: some frameworks go by the suffix.
SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "catboost": (".cbm",),
    "keras": (".keras", ".h5", ".hdf5"),
    "lightgbm": (".txt",),
    "pt2": (".pt2",),
    "skops": (".skops",),
    "xgboost": (".ubj", ".json"),
}
TOLERANCE = 1e-5  # relative; threads may add numbers up in another order


@runtime_checkable
class Saves(Protocol):
    """A source model that can write its framework's own file."""

    def save(self, folder: Path) -> Path:
        """Writes the file into `folder`, in a format of `SUFFIXES`; returns its path."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A model's own file, and the manifest's entry for it."""

    model: NativeModel
    path: Path


def is_native_format(name: str) -> bool:
    """Whether files of a format, by the name that `detect_format` has for it, can be kept."""
    return name in SUFFIXES


def keep_file(source: SourceModel, file: Path | None, folder: Path, request: ImportRequest) -> Kept:
    """The file to keep: `file`, which the source was read from, or one written into `folder`.

    Raises `UsageError` if the model has no safe format, or an option does not apply.
    """
    _check_request(request)
    if file is None or not _can_keep(file):
        if not isinstance(source, Saves):
            kinds = ", ".join(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
            raise UsageError(
                f"--backend native cannot keep this {source.framework} model: it keeps {kinds}.",
                hint="Save the model in such a file, or leave out --backend native.",
            )
        file = source.save(folder)
    path = f"native/model{file.suffix}"
    return Kept(NativeModel(source.framework, detect_format(file), path), file)


def _can_keep(file: Path) -> bool:
    return file.suffix in SUFFIXES.get(detect_format(file), ())


def _check_request(request: ImportRequest) -> None:
    if request.trust:
        raise UsageError(
            "--backend native never runs code from a file, so --trust does not apply.",
            hint="Leave out one of them.",
        )
    if request.quantize:
        raise UsageError(
            "--quantize applies to ONNX graphs only.",
            hint="Leave out --quantize or --backend native.",
        )
    if request.factory:
        raise UsageError(
            "--backend native needs a file that contains the whole model; --module gives code.",
            hint="Export the module with torch.export.save (.pt2).",
        )


@contextmanager
def offering_native(source: SourceModel, file: Path | None) -> Iterator[None]:
    """Adds to the hint of a conversion's error that the model can be kept as it is, if it can."""
    try:
        yield
    except NotTrusted:
        raise
    except (ConversionFailed, ParityFailed) as error:
        if (file is not None and _can_keep(file)) or isinstance(source, Saves):
            offer = f"Or keep it in {source.framework} itself: --backend native"
            error.hint = f"{error.hint} {offer}".strip()
        raise


def prove_native(
    kept: Kept,
    signature: Signature,
    claim: Claim,
    tolerance: float | None,
    check: Callable[[Session, Parity], None],
) -> Proved:
    """Compares the source model with a bundle's process, through the engine, on raw inputs.

    `check` compares what else there is, with the same process. Raises `ParityFailed` if they
    differ, and as opening a session.
    """
    reference = claim.reference
    batches: tuple[int, ...] = (1,)
    if claim.batching.joins:
        many = len(reference.items) > FEW_SAMPLES
        batches = (min(LARGE_BATCH, len(reference.items)),) if many else BATCHES
    draft = Manifest("draft", "draft", signature, native=kept.model)
    with open_draft(draft, {kept.model.file: kept.path}) as session:
        parity = check_parity(
            reference,
            session.predict,
            batches=batches,
            tolerance=TOLERANCE if tolerance is None else tolerance,
            labels=claim.labels,
        )
        latency = measure_latency(session.predict, reference.stack((0,)))
        check(session, parity)
        return Proved((), parity, GraphFacts(session.graph_bytes, latency))
