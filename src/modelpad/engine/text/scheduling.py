"""Which texts advance in the next step of a model, and by how many tokens: a pure function.

Every text that is being written advances by one token in each step. Prompts are read in pieces in
between, so that a long one delays the others by one piece at most. Of several prompts, the one of
which the least was read comes first; in every other step it is the oldest. So short requests are
quick beside a long one, and the long one always goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StepLimits:
    """How much one step does.

    `piece` is the most tokens of a prompt that are read at once, `tokens` those of all prompts
    together while texts are being written, and `idle_tokens` while none is.
    """

    piece: int = 128
    tokens: int = 128
    idle_tokens: int = 512

    def __post_init__(self) -> None:
        if not 1 < self.piece <= self.tokens <= self.idle_tokens:
            raise ValueError("piece must be above 1, and piece <= tokens <= idle_tokens")


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
    """The texts that read a single token, and those that read a piece, with its length."""

    single: tuple[int, ...] = ()
    pieces: tuple[tuple[int, int], ...] = ()


def plan_step(texts: Sequence[Progress], turn: int, limits: StepLimits) -> Step:
    """Plans the step number `turn` for these texts, by their places in `texts`.

    The pieces of a step are run together, padded to the longest, which counts.
    """
    single = tuple(place for place, text in enumerate(texts) if text.unread == 1)
    waiting = [place for place, text in enumerate(texts) if text.unread > 1]
    if not waiting:
        return Step(single)
    waiting.sort(key=lambda place: (texts[place].read, texts[place].arrived))
    if turn % 2:
        oldest = min(waiting, key=lambda place: texts[place].arrived)
        waiting.remove(oldest)
        waiting.insert(0, oldest)
    budget = limits.tokens if single else limits.idle_tokens
    width = min(limits.piece, texts[waiting[0]].unread)
    rows = max(1, budget // width)
    chosen = [(place, min(width, texts[place].unread)) for place in waiting[:rows]]
    return Step(single, tuple(chosen))
