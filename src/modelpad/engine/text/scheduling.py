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

WRITING_EVERY = 8  # steps, while many prompts wait
NARROW = 32  # tokens of a piece while several wait: two short rows are read faster than a long


Batch = list[tuple[int, int]]  # the places of texts, and how many tokens each of them reads


@dataclass(frozen=True, slots=True)
class StepLimits:
    """How much one step does.

    `piece` is the most tokens of a prompt that are read at once, `tokens` those of all prompts in
    one batch. A step reads at most `batches` of these, beside the texts that are being written.
    """

    piece: int = 128
    tokens: int = 320
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

    @property
    def written(self) -> int:
        """The number of tokens that it has written."""
        return 0


def plan_step(texts: Sequence[Progress], turn: int, limits: StepLimits) -> list[Batch]:
    """The batches of the step number `turn` for these texts; those of one token come first.

    A prompt is read in equal pieces. In a batch they are padded to the longest, which counts.
    """
    waiting = [place for place, text in enumerate(texts) if text.unread > 1]
    pauses = len(waiting) > limits.batches and turn % WRITING_EVERY != 0
    single = [
        (place, 1)
        for place, text in enumerate(texts)
        if text.unread == 1 and not (pauses and text.written)
    ]
    batches = [single] if single else []
    if not waiting:
        return batches
    waiting.sort(key=lambda place: (texts[place].unread, texts[place].arrived))
    if turn % 2:
        oldest = min(waiting, key=lambda place: texts[place].arrived)
        waiting.remove(oldest)
        waiting.insert(0, oldest)
    rows = -(-len(waiting) // limits.batches)
    first = texts[waiting[0]].unread
    pieces = -(-first // min(limits.piece, max(NARROW, limits.tokens // rows)))
    width = -(-first // pieces)
    rows = min(rows, max(1, limits.tokens // width))
    chosen = [
        (place, min(width, texts[place].unread)) for place in waiting[: rows * limits.batches]
    ]
    return batches + [chosen[at : at + rows] for at in range(0, len(chosen), rows)]
