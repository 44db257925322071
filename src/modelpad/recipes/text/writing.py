"""Continuations of a language model, and how they compare with real texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from modelpad.recipes.text.network import LanguageModel
from modelpad.recipes.text.tokens import START
from modelpad.training.device import Device

GRAM = 4


@dataclass(frozen=True, slots=True)
class Diversity:
    """Of all pairs of tokens, the share that is distinct; of all runs of four in a text, the share
    that occurs in it more than once."""

    distinct_pairs: float
    repeated_runs: float


@torch.no_grad()
def continue_texts(
    net: LanguageModel,
    prompts: Sequence[Sequence[int]],
    count: int,
    device: Device,
    *,
    temperature: float = 0.8,
    top: float = 0.95,
    seed: int = 0,
) -> list[list[int]]:
    """`count` tokens at most after each prompt, up to its end (nucleus sampling).

    Holtzman et al. 2020.
    """
    net.eval().to(device.name)
    generator = torch.Generator().manual_seed(seed)
    found = []
    for prompt in prompts:
        states = net.encoder.start(1)
        tokens = torch.tensor([START, *prompt])[:, None].to(device.name)
        written: list[int] = []
        while len(written) < count:
            left, states = net(tokens, states)
            logits = net.logits(left[-1, 0]).cpu() / temperature
            token = sample(torch.softmax(logits, dim=0), top, generator)
            if token == START:
                break
            written.append(token)
            tokens = torch.tensor([[token]]).to(device.name)
        found.append(written)
    return found


def sample(chances: torch.Tensor, top: float, generator: torch.Generator) -> int:
    """One token of the most likely ones that together have the probability `top`."""
    ordered, tokens = chances.sort(descending=True)
    kept = ordered.cumsum(0) - ordered < top
    place = torch.multinomial(ordered * kept, 1, generator=generator)
    return int(tokens[place])


def measure_diversity(texts: Sequence[Sequence[int]]) -> Diversity:
    """How varied texts of tokens are."""
    pairs = [pair for text in texts for pair in pairwise(text)]
    repeated, runs = 0, 0
    for text in texts:
        grams = [tuple(text[at : at + GRAM]) for at in range(len(text) - GRAM + 1)]
        runs += len(grams)
        repeated += len(grams) - len(set(grams))
    return Diversity(len(set(pairs)) / max(1, len(pairs)), repeated / max(1, runs))


def longest_copy(text: Sequence[int], tokens: NDArray[np.uint16]) -> int:
    """The most tokens in a row of `text` that are also in a row in the training tokens."""
    longest = 0
    target = np.asarray(text, np.uint16)
    for start in range(len(target)):
        if start + longest >= len(target):
            break
        places = np.flatnonzero(tokens[: len(tokens) - longest] == target[start])
        length = 1
        while len(places) and start + length < len(target):
            places = places[places + length < len(tokens)]
            places = places[tokens[places + length] == target[start + length]]
            if not len(places):
                break
            length += 1
        longest = max(longest, length if len(places) or length > 1 else 0)
    return longest
