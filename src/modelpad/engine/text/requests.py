"""What is asked of a language model, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass, field

from modelpad.engine.text.sampling import SamplingOptions

# Why a text ended, in OpenAI's words.
STOP = "stop"
LENGTH = "length"


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """Asks to continue a prompt, given as tokens without the start token.

    A text ends with an end token unless `ignore_end`, before one of the strings in `stop`, after
    `max_words` words if that is not 0, or after `max_tokens` tokens. Before `min_tokens`, it ends
    for none of the first two reasons.

    `candidates` texts are written and the `n` best returned: those with the highest mean log
    probability. With `logprobs`, each token has its log probability and those of that many
    likeliest tokens. `echo` returns the prompt in front. With `stream`, each piece is returned when
    it is written, otherwise a text is returned as a whole.
    """

    prompt: tuple[int, ...]
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    max_tokens: int = 16
    min_tokens: int = 0
    max_words: int = 0
    stop: tuple[str, ...] = ()
    n: int = 1
    candidates: int = 1
    logprobs: int | None = None
    echo: bool = False
    stream: bool = False
    ignore_end: bool = False

    @property
    def held_tokens(self) -> int:
        """How many tokens it may need, in all its texts."""
        return len(self.prompt) + self.candidates * self.max_tokens

    @property
    def scores_prompt(self) -> bool:
        """Whether the log probabilities of the prompt are needed."""
        return self.echo and self.logprobs is not None


@dataclass(frozen=True, slots=True)
class TokenScore:
    """A token with its log probability, at temperature 1 and without penalties.

    `offset` is where its text begins, in characters. `top` are the likeliest tokens in its place,
    with their log probabilities. The first token of a text has none.
    """

    token: int
    offset: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class TextPiece:
    """The next piece of one of the texts; the last has a reason.

    `count` is the number of tokens written so far.
    """

    index: int
    text: str
    count: int
    finish_reason: str | None = None
    tokens: tuple[TokenScore, ...] = ()


@dataclass(slots=True)
class Generation:
    """One text as a whole. `score` is the mean log probability of its tokens."""

    index: int
    text: str = ""
    count: int = 0
    finish_reason: str = LENGTH
    tokens: list[TokenScore] = field(default_factory=list)
    score: float = 0.0

    def add(self, piece: TextPiece) -> None:
        """Adds a piece."""
        self.text += piece.text
        self.count = piece.count
        self.tokens += piece.tokens
        if piece.finish_reason is not None:
            self.finish_reason = piece.finish_reason


@dataclass(frozen=True, slots=True)
class Classified:
    """The scores (classes,) of a text, after all its `tokens` were read, and its vector, if any."""

    scores: object
    tokens: int
    embedding: object = None
