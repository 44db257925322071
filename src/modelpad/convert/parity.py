"""The parity check: compares a source model and its bundle on the same samples.

The source model runs with NumPy preprocessing, the bundle with its own. This module does
not depend on frameworks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from modelpad.errors import ParityFailed
from modelpad.fields.arrays import Array, Arrays
from modelpad.foreign_json import Json

Run = Callable[[Arrays], Arrays]

BATCHES = (1, 7)
TOLERANCE = 1e-3
MIN_SCALE = 1e-6  # the smallest magnitude that differences are relative to


@dataclass(frozen=True, slots=True)
class Parity:
    """The differences between two models' outputs.

    `largest_difference` is absolute. `relative_difference` is relative to the largest number in the
    output, and at most `tolerance`. `label_agreement` is None without labels.
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
    source: Run,
    bundle: Run,
    samples: Sequence[Arrays],
    *,
    labels: Sequence[str] = (),
    tolerance: float = TOLERANCE,
    batches: Sequence[int] = BATCHES,
) -> Parity:
    """Runs both models on decoded `samples`, in batches of the sizes in `batches`.

    `labels` are the outputs whose largest score determines a label. An output fails if two of its
    numbers differ by more than `tolerance` times its largest number.

    Raises:
        ParityFailed: an output differs, has another shape, or is NaN in only one of the models. The
            message names it.
    """
    worst, worst_relative, agreed, counted = 0.0, 0.0, 0, 0
    first = tuple(index % len(samples) for index in range(max(BATCHES)))
    singles = [source(_stack([samples[index]])) for index in first]
    together = source(_stack([samples[index] for index in first]))
    _check_batching(singles, together, max(tolerance, TOLERANCE))
    known: dict[tuple[int, ...], Arrays] = {first: together}
    known |= {(index,): output for index, output in zip(first, singles, strict=True)}
    for size in batches:
        for start in range(0, len(samples), size):
            picked = tuple((start + offset) % len(samples) for offset in range(size))
            batch = _stack([samples[index] for index in picked])
            expected, got = known.get(picked) or source(batch), bundle(batch)
            for name, reference in expected.items():
                difference, relative = _compare(name, reference, got[name], size, tolerance)
                worst, worst_relative = max(worst, difference), max(worst_relative, relative)
                if name in labels:
                    same = reference.argmax(axis=-1) == got[name].argmax(axis=-1)
                    agreed, counted = agreed + int(np.sum(same)), counted + np.size(same)
    agreement = agreed / counted if counted else None
    return Parity(len(samples), worst, worst_relative, agreement, tolerance, tuple(batches))


def _stack(samples: Sequence[Arrays]) -> Arrays:
    return {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}


def _check_batching(singles: Sequence[Arrays], together: Arrays, tolerance: float) -> None:
    """Raises `ParityFailed` if an item's output depends on the other items in its batch.

    It does in training mode, because of batch normalisation and dropout.
    """
    for name, batch in together.items():
        single = np.concatenate([output[name] for output in singles])
        try:
            _compare(name, single, batch, len(singles), tolerance)
        except ParityFailed as error:
            raise ParityFailed(
                f"The source model itself gives a different output {name!r} for a batch of"
                f" {len(singles)} than for single items.",
                hint="If it is in training mode, call eval() before saving. It may also combine"
                " the items of a batch.",
                output=name,
            ) from error


def _compare(
    name: str, expected: Array, got: Array, size: int, tolerance: float
) -> tuple[float, float]:
    """The largest absolute and relative difference. Raises `ParityFailed`."""
    if expected.shape != got.shape:
        raise ParityFailed(
            f"The output {name!r} has shape {list(got.shape)} in the bundle and"
            f" {list(expected.shape)} in the source model, with a batch of {size}.",
            hint="The model may not support batches, or may use another layout.",
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
    finite = np.abs(first[np.isfinite(first)])
    relative = difference / max(MIN_SCALE, float(finite.max()) if finite.size else 1.0)
    if relative > tolerance:
        raise _differ(name, size, difference, relative, tolerance)
    return difference, relative


def _differ(
    name: str, size: int, difference: float, relative: float, tolerance: float
) -> ParityFailed:
    sufficient = f"{2 * relative:.1g}" if np.isfinite(relative) else "inf"
    return ParityFailed(
        f"The bundle's output {name!r} differs from the source model's by {difference:.2e}"
        f" (relative: {relative:.2e}, at most {tolerance:.0e} allowed) with a batch of {size}.",
        hint=f"Check --input (scale, layout) first; --tolerance {sufficient} would accept it.",
        output=name,
        difference=difference,
    )
