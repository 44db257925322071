"""Checks the typed side of a bundle: field values in, field values out, through the engine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from modelpad.bundle import Manifest, write_bundle
from modelpad.convert.parity import Parity
from modelpad.convert.plans import OutputPlan
from modelpad.convert.reference import Reference
from modelpad.convert.samples.values import Values
from modelpad.engine import Session
from modelpad.engine.typed import TypedOutputs
from modelpad.errors import ParityFailed

CHECKED = 7  # samples
ROUNDING = 2e-6  # fields round to six decimals


def check_typed(
    session: Session,
    parity: Parity,
    reference: Reference,
    outputs: Sequence[OutputPlan],
    values: Sequence[Values],
) -> None:
    """Predicts samples as the typed API does, and compares with the source model's predictions.

    `session` has the graph that `parity` was found for. `values` are those of the reference's first
    items. Raises `ParityFailed` if they differ.
    """
    limit = max(ROUNDING, 2 * parity.largest_difference)
    typed = TypedOutputs([plan.field for plan in outputs], [plan.binding for plan in outputs])
    for number, sample in enumerate(values[:CHECKED]):
        got = session.answer(sample)
        expected = typed.encode(reference.predict((number,)))
        for name, value in expected.items():
            if not agree(value, got[name], limit):
                raise ParityFailed(
                    f"The typed output {name!r} is not what the source model predicts.",
                    hint="Please report this, with the model's framework and version.",
                    output=name,
                )


@contextmanager
def open_draft(manifest: Manifest, files: Mapping[str, bytes | Path]) -> Iterator[Session]:
    """A session of a bundle that is not finished. Raises as writing and opening it."""
    with tempfile.TemporaryDirectory(prefix="modelpad-draft-") as folder:
        session = Session(write_bundle(Path(folder) / "bundle", manifest, files))
        try:
            yield session
        finally:
            session.close()


def agree(first: object, second: object, limit: float) -> bool:
    """Whether two field values are the same, their numbers up to `limit` of the larger."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        if "label" in first and "label" in second:  # near ties may change the order
            first, second = first["scores"], second["scores"]
            assert isinstance(first, Mapping)
            assert isinstance(second, Mapping)
        common = first.keys() & second.keys()
        return bool(common) and all(agree(first[key], second[key], limit) for key in common)
    if isinstance(first, list) and isinstance(second, list):
        pairs = zip(first, second, strict=False)
        return len(first) == len(second) and all(agree(a, b, limit) for a, b in pairs)
    if isinstance(first, int | float) and isinstance(second, int | float):
        if first != first or second != second:
            return first != first and second != second
        return first == second or abs(first - second) <= limit * max(1.0, abs(first), abs(second))
    if isinstance(first, str) and first.startswith("data:image/"):
        return isinstance(second, str) and second.startswith("data:image/")
    return first == second
