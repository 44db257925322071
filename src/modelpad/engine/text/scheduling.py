"""Which texts advance in the next step of a model, and by how many tokens: a pure function.

Every text that is being written advances by one token in each step. Prompts are read in pieces
beside them, so that a long one delays the others by one piece at most. While more prompts wait than
are read side by side, a step writes only now and then: these prompts wait for a first token, which
counts for more than a fluent rest. Of several prompts, the one with the least to read comes first;
in every other step it is the oldest. So short requests are quick beside a long one, and the long
one always goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WRITING_EVERY = 4  # steps, while many prompts wait
NARROW = 64  # tokens of a piece while several wait: two short rows are read faster than a long


@dataclass(frozen=True, slots=True)
class StepLimits:
    """How much one step does.

    `piece` is the most tokens of a prompt that are read at once, `tokens` those of all prompts in
    one batch. A step reads at most `batches` of these, beside the texts that are being written.
    """

    piece: int = 128
    tokens: int = 256
    batches: int = 2

    def __post_init__(self) -> None:
        if not 1 < self.piece <= self.tokens or self.batches < 1:
            raise ValueError("piece must be above 1 and at most tokens, and batches at least 1")


@dataclass(slots=True, eq=False)
class Progress:
    """How far one text is: tokens that are read, and tokens that are known and not read yet.

    A text that is being written has one unread token; one that waits for its client has none.
    """

    unread: int
    read: int = 0
    arrived: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """The texts that read a single token, and batches of those that read a piece of a length."""

    single: tuple[int, ...] = ()
    batches: tuple[tuple[tuple[int, int], ...], ...] = ()


def plan_step(texts: Sequence[Progress], turn: int, limits: StepLimits) -> Step:
    """Plans the step number `turn` for these texts, by their places in `texts`.

    The pieces of a batch are padded to the longest, which counts.
    """
    single = tuple(place for place, text in enumerate(texts) if text.unread == 1)
    waiting = [place for place, text in enumerate(texts) if text.unread > 1]
    if not waiting:
        return Step(single)
    if len(waiting) > limits.batches and turn % WRITING_EVERY:
        single = ()
    waiting.sort(key=lambda place: (texts[place].unread, texts[place].arrived))
    if turn % 2:
        oldest = min(waiting, key=lambda place: texts[place].arrived)
        waiting.remove(oldest)
        waiting.insert(0, oldest)
    rows = -(-len(waiting) // limits.batches)
    width = min(limits.piece, texts[waiting[0]].unread, max(NARROW, limits.tokens // rows))
    rows = min(rows, max(1, limits.tokens // width))
    chosen = [
        (place, min(width, texts[place].unread)) for place in waiting[: rows * limits.batches]
    ]
    return Step(single, tuple(tuple(chosen[at : at + rows]) for at in range(0, len(chosen), rows)))
