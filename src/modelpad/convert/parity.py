"""Proof that a bundle is the same model: both run on the same samples and their answers compared.

The source runs behind NumPy's preparation, the bundle with its own. Knows nothing of frameworks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelpad.convert.source import Arrays
from modelpad.errors import ParityFailed

Run = Callable[[Arrays], Arrays]

BATCHES = (1, 7)
TOLERANCE = 1e-3
SMALLEST = 1e-6  # an output all below this is compared as if its largest number were this


@dataclass(frozen=True, slots=True)
class Parity:
    """How far two models are apart.

    `largest_difference` is absolute; `relative_difference` is that of an output divided by the
    largest number in it, and is held to `tolerance`; `label_agreement` is None without labels.
    """

    samples: int
    largest_difference: float
    relative_difference: float
    label_agreement: float | None
    tolerance: float
    batches: tuple[int, ...] = BATCHES

    def to_dict(self) -> dict[str, Any]:
        """As the manifest holds it."""
        return {
            "samples": self.samples,
            "batches": list(self.batches),
            "largest_difference": self.largest_difference,
            "relative_difference": self.relative_difference,
            "label_agreement": self.label_agreement,
            "tolerance": self.tolerance,
        }


def check_parity(
    source: Run,
    bundle: Run,
    samples: Sequence[dict[str, Any]],
    *,
    labels: Sequence[str] = (),
    tolerance: float = TOLERANCE,
    batches: Sequence[int] = BATCHES,
) -> Parity:
    """Runs both on decoded `samples`, one at a time and seven at once, or as `batches` says.

    `labels` are the outputs whose largest score is a label. An output fails when two numbers of it
    differ by more than `tolerance` times its largest number.

    Raises:
        ParityFailed: an output differs, has another shape, or is not a number on one side only; the
            message names it.
    """
    worst, worst_relative, agreed, counted = 0.0, 0.0, 0, 0
    first = tuple(index % len(samples) for index in range(max(BATCHES)))
    alone = [source(_stack([samples[index]])) for index in first]
    together = source(_stack([samples[index] for index in first]))
    _check_itself(alone, together, max(tolerance, TOLERANCE))
    answered: dict[tuple[int, ...], Arrays] = {first: together}
    answered |= {(index,): answer for index, answer in zip(first, alone, strict=True)}
    for size in batches:
        for start in range(0, len(samples), size):
            picked = tuple((start + offset) % len(samples) for offset in range(size))
            batch = _stack([samples[index] for index in picked])
            wanted, got = answered.get(picked) or source(batch), bundle(batch)
            for name, reference in wanted.items():
                difference, relative = _compare(name, reference, got[name], size, tolerance)
                worst, worst_relative = max(worst, difference), max(worst_relative, relative)
                if name in labels:
                    same = reference.argmax(axis=-1) == got[name].argmax(axis=-1)
                    agreed, counted = agreed + int(same.sum()), counted + same.size
    agreement = agreed / counted if counted else None
    return Parity(len(samples), worst, worst_relative, agreement, tolerance, tuple(batches))


def _stack(samples: Sequence[dict[str, Any]]) -> Arrays:
    return {name: np.stack([item[name] for item in samples]) for name in samples[0]}


def _check_itself(alone: Sequence[Arrays], together: Arrays, tolerance: float) -> None:
    """Raises `ParityFailed` when the source model answers otherwise once others are in the batch.

    A model in training mode does: its batch normalisation sees the batch, its dropout is random.
    """
    for name, batch in together.items():
        single = np.concatenate([answer[name] for answer in alone])
        try:
            _compare(name, single, batch, len(alone), tolerance)
        except ParityFailed as error:
            raise ParityFailed(
                f"The source model itself answers otherwise when {len(alone)} items come at once"
                f" than one at a time: its output {name!r} differs.",
                hint="It is in training mode (call eval() before you save it),"
                " or mixes the items of a batch.",
                output=name,
            ) from error


def _compare(
    name: str, wanted: NDArray[Any], got: NDArray[Any], size: int, tolerance: float
) -> tuple[float, float]:
    """The largest absolute and relative difference. Raises `ParityFailed`."""
    if wanted.shape != got.shape:
        raise ParityFailed(
            f"The output {name!r} is of shape {list(got.shape)} in the bundle and"
            f" {list(wanted.shape)} in the source model, with a batch of {size}.",
            hint="The model may not allow several items at once, or its layout is another.",
            output=name,
        )
    if wanted.dtype.kind not in "biuf":
        if [str(one) for one in wanted.flat] != [str(one) for one in got.flat]:
            raise _differ(name, size, 1.0, 1.0, tolerance)
        return 0.0, 0.0
    first, second = wanted.astype(np.float64), got.astype(np.float64)
    unlike = ~((first == second) | (np.isnan(first) & np.isnan(second)))
    if not unlike.any():
        return 0.0, 0.0
    apart = np.abs(first[unlike] - second[unlike])
    difference = float(apart.max()) if np.isfinite(apart).all() else float("inf")
    finite = np.abs(first[np.isfinite(first)])
    relative = difference / max(SMALLEST, float(finite.max()) if finite.size else 1.0)
    if relative > tolerance:
        raise _differ(name, size, difference, relative, tolerance)
    return difference, relative


def _differ(
    name: str, size: int, difference: float, relative: float, tolerance: float
) -> ParityFailed:
    accept = f"{2 * relative:.1g}" if np.isfinite(relative) else "inf"
    return ParityFailed(
        f"The bundle does not answer as the source model: the output {name!r} differs by"
        f" {difference:.2e} ({relative:.2e} of its size; at most {tolerance:.0e} is allowed)"
        f" with a batch of {size}.",
        hint=f"Look at --input (scale, layout) first; --tolerance {accept} would accept it.",
        output=name,
        difference=difference,
    )
