"""The parity check: compares a source model and its graph on the same raw inputs.

Both get what the framework's own prediction takes, so that nothing can hide between them. This
module does not depend on frameworks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from modelpad.convert.reference import KEPT, Reference
from modelpad.errors import ParityFailed
from modelpad.fields.arrays import Array, Arrays
from modelpad.foreign_json import Json

Run = Callable[[Arrays], Arrays]
Pick = Callable[[Array], Array]

BATCHES = (1, 7)
TOLERANCE = 1e-3
ACCEPTABLE = 0.05  # relative; a larger difference is not one of precision
ROUNDING = 1e-4  # of a quantum, when it is subtracted in float32
MIN_SCALE = 1e-6  # the smallest magnitude that differences are relative to
# The same, of the largest number for any sample: what is 0 but for rounding differs by more.
SMALL_OUTPUT = 1e-3


@dataclass(frozen=True, slots=True)
class Parity:
    """The differences between two models' outputs.

    `largest_difference` is absolute. `relative_difference` is relative to the largest number in the
    output, or to a thousandth of the largest for any sample if that is more, and at most
    `tolerance`. `label_agreement` is None without labels.
    """

    samples: int
    largest_difference: float
    relative_difference: float
    label_agreement: float | None
    tolerance: float
    batches: tuple[int, ...] = BATCHES

    def to_dict(self) -> dict[str, Json]:
        """The entry in the manifest."""
        return {
            "samples": self.samples,
            "batches": [*self.batches],
            "largest_difference": self.largest_difference,
            "relative_difference": self.relative_difference,
            "label_agreement": self.label_agreement,
            "tolerance": self.tolerance,
        }


def check_parity(
    reference: Reference,
    bundle: Run,
    *,
    batches: Sequence[int] = BATCHES,
    tolerance: float = TOLERANCE,
    labels: Mapping[str, Pick] | None = None,
    quanta: Mapping[str, float] | None = None,
) -> Parity:
    """Runs both models on the same raw items, alone and in batches of the sizes in `batches`.

    Only items of one shape can be in a batch. `labels` pick the
    class of each item from an output. An output fails if two of its numbers differ by more than
    `tolerance` times its largest number, and by more than its quantum, if it has one.

    Raises:
        ParityFailed: an output differs, has another shape, or is NaN in only one of the models. The
            message names it.
    """
    labels, quanta = labels or {}, quanta or {}
    worst, worst_relative, agreed, counted = 0.0, 0.0, 0, 0
    scales = _find_scales(reference, batches[0])
    for size in batches:
        for picked in _pick_batches(reference, size):
            expected, got = reference.predict(picked), bundle(reference.stack(picked))
            for name, array in expected.items():
                difference, relative = compare(
                    name, array, got[name], size, tolerance, quanta.get(name, 0.0), scales[name]
                )
                worst, worst_relative = max(worst, difference), max(worst_relative, relative)
                if name in labels:
                    same = labels[name](array) == labels[name](got[name])
                    agreed, counted = agreed + int(np.sum(same)), counted + np.size(same)
    agreement = agreed / counted if counted else None
    return Parity(len(reference.items), worst, worst_relative, agreement, tolerance, tuple(batches))


def _pick_batches(reference: Reference, size: int) -> Iterator[tuple[int, ...]]:
    """The indices of all items in batches of a size; the last is filled up with the first items."""
    usable = [*range(len(reference.items))] if size == 1 else reference.alike()
    for start in range(0, len(usable), size):
        yield tuple(usable[(start + offset) % len(usable)] for offset in range(size))


def _find_scales(reference: Reference, size: int) -> dict[str, float]:
    """The smallest magnitude, for each output, that its differences are relative to."""
    scales: dict[str, float] = {}
    for picked in islice(_pick_batches(reference, size), KEPT):
        for name, array in reference.predict(picked).items():
            largest = SMALL_OUTPUT * _largest(array)
            scales[name] = max(scales.get(name, MIN_SCALE), largest)
    return scales


def _largest(array: Array) -> float:
    """The largest finite magnitude; 0 if there is none."""
    if array.dtype.kind not in "biuf":
        return 0.0
    finite = np.abs(array[np.isfinite(array)].astype(np.float64))
    return float(finite.max()) if finite.size else 0.0


def compare(
    name: str,
    expected: Array,
    got: Array,
    size: int,
    tolerance: float,
    quantum: float = 0.0,
    min_scale: float = MIN_SCALE,
) -> tuple[float, float]:
    """The largest absolute and relative difference of an output of `size` items.

    Raises `ParityFailed`.
    """
    if expected.shape != got.shape:
        raise ParityFailed(
            f"The output {name!r} has shape {list(got.shape)} in the bundle and"
            f" {list(expected.shape)} in the source model, with a batch of {size}.",
            hint="Please report this, with the model's framework and version.",
            output=name,
        )
    if expected.dtype.kind not in "biuf":
        if [str(value) for value in expected.flat] != [str(value) for value in got.flat]:
            raise _differ(name, size, 1.0, 1.0, tolerance)
        return 0.0, 0.0
    first, second = expected.astype(np.float64), got.astype(np.float64)
    differs = ~((first == second) | (np.isnan(first) & np.isnan(second)))
    if not differs.any():
        return 0.0, 0.0
    distance = np.abs(first[differs] - second[differs])
    difference = float(distance.max()) if np.isfinite(distance).all() else float("inf")
    relative = difference / max(min_scale, _largest(first))
    if relative > tolerance and difference > quantum * (1 + ROUNDING):
        raise _differ(name, size, difference, relative, tolerance)
    return difference, relative


def _differ(
    name: str, size: int, difference: float, relative: float, tolerance: float
) -> ParityFailed:
    sufficient = f"{2 * relative:.1g}" if np.isfinite(relative) else "inf"
    return ParityFailed(
        f"The bundle's output {name!r} differs from the source model's by {difference:.2e}"
        f" (relative: {relative:.2e}, at most {tolerance:.0e} allowed) with a batch of {size}.",
        hint="Both got the same inputs, so the conversion changed the model."
        + (f" --tolerance {sufficient} would accept it." if relative <= ACCEPTABLE else ""),
        output=name,
        difference=difference,
    )
