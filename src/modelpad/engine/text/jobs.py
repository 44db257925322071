"""The texts that a model is working on: prompts being read, and continuations being written.

A job decides what to do with the outputs of its pieces. It knows nothing of threads and queues: it
hands what it has found to `emit`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from modelpad.engine.text.requests import (
    LENGTH,
    STOP,
    Classified,
    Generation,
    GenerationRequest,
    TextPiece,
    TokenScore,
)
from modelpad.engine.text.sampling import Sampler, log_softmax
from modelpad.engine.text.scheduling import Progress
from modelpad.engine.text.states import Array, TextState
from modelpad.engine.text.text_stream import TextStream

if TYPE_CHECKING:
    from modelpad.errors import ModelpadError
    from modelpad.fields.byte_pairs import ByteLevelTokenizer

Emitted = TextPiece | Generation | Classified
Emit = Callable[["Emitted | ModelpadError"], None]


@dataclass(slots=True, eq=False, kw_only=True)
class TextJob(Progress):
    """One text: its tokens, how many of them are read, and the states after these.

    `state` is None until the text is admitted. It is over once `done`, or `cancelled` because
    nobody waits for it any more.
    """

    tokens: list[int]
    emit: Emit
    unread: int = 0
    state: TextState | None = None
    cancelled: bool = False
    done: bool = False
    rows: int = 1  # texts that it becomes
    advanced: float = 0.0  # when it last did
    cached: int = 0  # tokens whose state was remembered
    first: TextJob | None = None  # the one that this one was forked from

    def __post_init__(self) -> None:
        self.unread = len(self.tokens)

    @property
    def reads_all(self) -> bool:
        """Whether outputs are needed for every token, so that nothing can be remembered."""
        return False

    @property
    def is_over(self) -> bool:
        """Whether it needs no more steps."""
        return self.done or self.cancelled or (self.first is not None and self.first.cancelled)

    def mark_advanced(self, now: float) -> None:
        """Notes the time; for all the texts of a request together."""
        (self.first or self).advanced = now

    def next_tokens(self, count: int) -> Sequence[int]:
        """The tokens of the next piece."""
        return self.tokens[self.read : self.read + count]

    def wanted(self, count: int) -> Sequence[int]:
        """The places in the next piece for which outputs are needed: the last of the text."""
        return [count - 1] if count == self.unread else []

    def advance(self, count: int, outputs: Array) -> None:
        """Takes the outputs of a piece."""
        self.read += count
        self.unread -= count

    def fail(self, error: ModelpadError) -> None:
        """Ends with an error."""
        self.done = True
        self.emit(error)


@dataclass(slots=True, eq=False, kw_only=True)
class ReadingJob(TextJob):
    """A text to be classified."""

    def advance(self, count: int, outputs: Array) -> None:
        """Emits the scores after the last piece."""
        TextJob.advance(self, count, outputs)
        if not self.unread:
            self.done = True
            vector = None if self.state is None else self.state.embedding
            embedding = None if vector is None else vector.copy()
            self.emit(Classified(outputs[0].copy(), self.read, embedding))


@dataclass(slots=True, eq=False, kw_only=True)
class WritingJob(TextJob):
    """A text that is continued; the first of several candidates reads the prompt for all."""

    request: GenerationRequest
    tokenizer: ByteLevelTokenizer
    end: frozenset[int]
    skipped: int = 0  # tokens in front of the prompt
    index: int = 0
    count: int = 0
    stream: TextStream = field(init=False)
    sampler: Sampler = field(init=False)
    generation: Generation = field(init=False)
    banned: tuple[int, ...] = ()
    _banned: NDArray[np.intp] = field(init=False)
    _early: NDArray[np.intp] = field(init=False)  # before min_tokens
    pending: list[TokenScore] = field(default_factory=list)  # of the text, not sent yet
    scores: list[TokenScore] = field(default_factory=list)  # of the prompt
    total: float = 0.0

    def __post_init__(self) -> None:
        TextJob.__post_init__(self)
        request = self.request
        self.rows = request.candidates
        self.stream = TextStream(request.stop, request.max_words)
        self.sampler = Sampler(request.sampling, request.prompt, self.index)
        self.generation = Generation(self.index)
        banned = (*self.banned, *self.end) if request.ignore_end else self.banned
        self._banned = self._as_tokens(banned)
        self._early = self._as_tokens((*self.banned, *self.end))
        if request.scores_prompt:
            self.scores += self._begin_scores()

    def _as_tokens(self, tokens: Sequence[int]) -> NDArray[np.intp]:
        return np.array([each for each in tokens if each < self.tokenizer.size], np.intp)

    @property
    def written(self) -> int:
        return self.count

    @property
    def reads_all(self) -> bool:
        return self.request.scores_prompt

    def wanted(self, count: int) -> Sequence[int]:
        if self.reads_all and self.read < self.prompt_length:
            return range(count)
        return TextJob.wanted(self, count)

    @property
    def prompt_length(self) -> int:
        """The number of tokens before the first that is written."""
        return self.skipped + len(self.request.prompt)

    def advance(self, count: int, outputs: Array) -> None:
        """Scores the prompt, if that is asked for."""
        if self.reads_all and self.read < self.prompt_length:
            self._score_prompt(count, outputs)
        TextJob.advance(self, count, outputs)

    def begin(self) -> list[WritingJob]:
        """The texts that need the next token, when all before it are read.

        Itself, and all candidates before the first token.
        """
        if self.count:
            return [self]
        jobs = [self, *self._fork()] if self.index == 0 else [self]
        for job in jobs:
            if job.request.echo:
                job._echo()
            if not job.request.max_tokens:
                job._finish(LENGTH)
        return [job for job in jobs if not job.done]

    @property
    def never(self) -> NDArray[np.intp]:
        """The tokens that must not be the next one."""
        return self._early if self.count < self.request.min_tokens else self._banned

    def take(self, token: int, logits: Array) -> None:
        """Goes on with a token that was chosen from `logits` (V,); emits what may be sent of it."""
        request = self.request
        early = self.count < request.min_tokens
        self.count += 1
        if request.logprobs is not None or request.candidates > request.n:
            self._score(token, logits[: self.tokenizer.size])
        if token in self.end:
            self._finish(STOP)
            return
        text = self.stream.add(self.tokenizer.decode([token]), may_stop=not early)
        if self.stream.stopped:
            self._finish(STOP if self.stream.found_stop else LENGTH, text)
        elif self.count >= request.max_tokens:
            self._finish(LENGTH, text)
        else:
            self.tokens.append(token)
            self.unread = 1
            self._send(text)

    def _fork(self) -> list[WritingJob]:
        """The other candidates, which start with the same states."""
        assert self.state is not None
        others = []
        for index in range(1, self.request.candidates):
            job = WritingJob(
                tokens=[*self.tokens],
                emit=self.emit,
                request=self.request,
                tokenizer=self.tokenizer,
                end=self.end,
                skipped=self.skipped,
                banned=self.banned,
                index=index,
                arrived=self.arrived,
                cached=self.cached,
                first=self,
            )
            job.read, job.unread, job.rows = self.read, 0, 1
            job.scores = [*self.scores]
            others.append(job)
        self.rows = 1
        return others

    # What is sent.

    def _send(self, text: str, reason: str | None = None) -> None:
        tokens = self._take_scores(reason)
        if not text and not tokens and reason is None:
            return
        piece = TextPiece(self.index, text, self.count, reason, tokens)
        if self.request.stream:
            self.emit(piece)
        else:
            self.generation.add(piece)

    def _finish(self, reason: str, text: str = "") -> None:
        if not self.stream.stopped:
            text += self.stream.finish()
            if self.stream.found_stop:
                reason = STOP
        self.done = True
        self.unread = 0
        self._send(text, reason)
        if not self.request.stream:
            self.generation.score = self.total / max(1, self.count)
            self.emit(self.generation)

    # Log probabilities.

    def _begin_scores(self) -> list[TokenScore]:
        """The first token's, which has none unless a start token is in front of it."""
        if self.skipped or not self.request.prompt:
            return []
        return [TokenScore(self.request.prompt[0], 0)]

    def _score_prompt(self, count: int, outputs: Array) -> None:
        """The log probabilities of the prompt's tokens, from the outputs for those before."""
        logs = log_softmax(outputs[:, : self.tokenizer.size])
        for place in range(count):
            after = self.read + place + 1
            if after < self.prompt_length and after >= self.skipped:
                self.scores.append(self._make_score(self.tokens[after], logs[place], 0))

    def _make_score(self, token: int, logs: Array, offset: int) -> TokenScore:
        top: tuple[tuple[int, float], ...] = ()
        wanted = self.request.logprobs or 0
        if wanted:
            wanted = min(wanted, len(logs))
            best = np.argpartition(-logs, wanted - 1)[:wanted]
            best = best[np.argsort(-logs[best], kind="stable")]
            top = tuple((int(each), float(logs[each])) for each in best)
        logprob = float(logs[token]) if token < len(logs) else None
        return TokenScore(token, offset, logprob, top)

    def _score(self, token: int, logits: Array) -> None:
        logs = log_softmax(logits)
        score = self._make_score(token, logs, self.stream.length)
        self.total += score.logprob or 0.0
        if self.request.logprobs is not None and token not in self.end:
            self.pending.append(score)

    def _echo(self) -> None:
        """Puts the prompt in front of the text, with its scores, whose offsets are known now."""
        prompt = TextStream()
        scored = dict(enumerate(self.scores))
        tokens, text = [], ""
        for place, token in enumerate(self.request.prompt):
            offset = prompt.length
            text += prompt.add(self.tokenizer.decode([token]))
            if place in scored:
                score = scored[place]
                tokens.append(TokenScore(token, offset, score.logprob, score.top))
        text += prompt.finish()
        self.scores = []
        self.stream.released = len(text)
        piece = TextPiece(self.index, text, 0, None, tuple(tokens))
        if self.request.stream:
            self.emit(piece)
        else:
            self.generation.add(piece)

    def _take_scores(self, reason: str | None) -> tuple[TokenScore, ...]:
        """The scores of tokens whose text was sent; at the end, of all whose text begins before it.

        A stop string and what follows it are no part of the text.
        """
        if not self.pending:
            return ()
        released = self.stream.released
        if reason is not None:
            whole = not self.stream.stopped
            kept = [score for score in self.pending if whole or score.offset < released]
            self.pending.clear()
            return tuple(kept)
        sent = []
        while len(self.pending) > 1 and self.pending[1].offset <= released:
            sent.append(self.pending.pop(0))
        if self.pending and self.stream.length == released:
            sent.append(self.pending.pop(0))
        return tuple(sent)
