"""How fast `train writer` learns: the time of a step, on made-up text of the usual shape.

Tokens are drawn from a distribution as uneven as words', in texts of 300 tokens. Prints wall and
CPU time of a step, of the best of some rounds, for a sampled vocabulary (most steps of a training)
and the whole one (the last tenth).

usage: python bench/text_training.py [--arch mingru] [--rounds 5] [--steps 6]
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import torch

from modelpad.recipes.text.language import LanguagePlan, LanguageTrainer
from modelpad.recipes.text.network import ArchitectureName, LanguageModel, Shape
from modelpad.recipes.text.tokens import START, Corpus
from modelpad.training.device import choose_device

TOKENS, TEXT = 400_000, 300
UNEVEN = 4  # the exponent of uniform numbers: the commonest of 8,192 tokens is a tenth of all


@dataclass(frozen=True, slots=True)
class Step:
    """The times of a step, and its tokens."""

    wall_s: float
    cpu_s: float
    tokens: int


def make_corpus(vocabulary: int) -> Corpus:
    """Texts of random tokens."""
    drawn = np.random.default_rng(0).random(TOKENS) ** UNEVEN
    tokens = (drawn * (vocabulary - 1) + 1).astype(np.uint16)
    tokens[::TEXT] = START
    offsets = np.append(np.arange(0, TOKENS, TEXT), TOKENS)
    sizes = np.full(len(offsets) - 1, TEXT, np.int64)
    return Corpus(tokens, offsets, sizes, sizes)


def measure_step(plan: LanguagePlan, shape: Shape, rounds: int, steps: int) -> Step:
    """The best mean of some rounds, after one to warm up."""
    device = choose_device()
    trainer = LanguageTrainer(LanguageModel(shape), make_corpus(shape.vocabulary), plan, device)
    found = []
    for _ in range(rounds + 1):
        trainer.steps = trainer.done + steps
        wall, cpu = time.perf_counter(), time.process_time()
        trainer.train_pass(lambda *_: None)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        found.append(Step(wall / steps, cpu / steps, plan.lanes * plan.span))
    return min(found[1:], key=lambda each: each.wall_s)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = get_args(ArchitectureName)
    parser.add_argument("--arch", choices=names, default=names[0], help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--steps", type=int, default=6, help="of a round (%(default)s)")
    args = parser.parse_args()
    plan = LanguagePlan("bench", passes=1_000, lanes=32, span=128, dropout=0.05)
    results = {}
    for name, sampled in (("sampled vocabulary", True), ("whole vocabulary", False)):
        step = measure_step(
            replace(plan, sampled=sampled), Shape(args.arch), args.rounds, args.steps
        )
        results[name] = {
            "wall_ms": round(1000 * step.wall_s),
            "cpu_ms": round(1000 * step.cpu_s),
            "tokens_per_s": round(step.tokens / step.wall_s),
        }
    print(json.dumps({"threads": torch.get_num_threads(), **results}, indent=1))


if __name__ == "__main__":
    main()
