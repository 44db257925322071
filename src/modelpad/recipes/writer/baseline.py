"""What an n-gram model makes of the test texts, beside the language model."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from modelpad.recipes.text.language import Measured
from modelpad.recipes.text.ngrams import ORDER, measure_chances
from modelpad.recipes.writer import WriterOptions
from modelpad.recipes.writer.data import WriterData
from modelpad.training.findings import Findings
from modelpad.training.run import Run

FEW = 20_000  # tokens to learn from, of which a comparison would say little


@dataclass(frozen=True, slots=True)
class Baseline:
    """The likelihood of the test texts by an n-gram model, and its seconds of processor time."""

    measured: Measured
    seconds: float


def measure_baseline(options: WriterOptions, data: WriterData, run: Run) -> Baseline | None:
    """A 5-gram of the same tokens on the same test texts; None if there is little, or not wanted.

    It learns from the texts for training, and from the general text if there is room.
    """
    corpora = [each for each in (data.corpora.general, data.corpora.train) if each is not None]
    if options.no_baseline or sum(len(each.tokens) for each in corpora) < FEW:
        return None
    begun = time.process_time()
    chances = measure_chances(corpora, data.test, data.tokenizer.get_vocab_size())
    nats, seconds = float(-np.log(chances).sum()), time.process_time() - begun
    test = data.test
    sizes = (int(test.offsets[-1]), int(test.bytes_of.sum()), int(test.words_of.sum()))
    found = Baseline(Measured(nats, *sizes), seconds)
    run.print(f"Baseline: {describe(found)}.")
    return found


def describe(found: Baseline) -> str:
    """The baseline in words."""
    return (
        f"a {ORDER}-gram with modified Kneser-Ney smoothing of the same tokens needs"
        f" {found.measured.bits_per_byte:.4f} bits per byte of the same test texts, and"
        f" {found.seconds:.0f} s of processor time"
    )


def compare(found: Baseline | None, reached: Measured) -> Findings:
    """The baseline beside what was reached; a warning if that is not better."""
    if found is None:
        return Findings()
    before, after = found.measured.bits_per_byte, reached.bits_per_byte
    less = 100 * (1 - after / before)
    warnings = []
    if after >= before:
        warnings.append(
            f"No better than a {ORDER}-gram, which needs {before:.4f} bits per byte: train longer,"
            " or on more text."
        )
    note = f"Baseline: {describe(found)}. The model needs {less:.1f} % less."
    return Findings(
        metrics={"baseline_bits_per_byte": before},
        notes=[note if after < before else f"Baseline: {describe(found)}."],
        warnings=warnings,
    )
