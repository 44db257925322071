"""Advances the texts of a model step by step: each step runs the graph once or twice.

It is synchronous and has no queue; texts join and leave between two steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from modelpad.engine.running import wrap_error
from modelpad.engine.text.graph import Row, TextGraph
from modelpad.engine.text.jobs import TextJob, WritingJob
from modelpad.engine.text.prompt_cache import PromptCache
from modelpad.engine.text.sampling import choose_tokens
from modelpad.engine.text.scheduling import NARROW, StepLimits, plan_step
from modelpad.errors import ModelpadError

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from modelpad.engine.session import Run
    from modelpad.engine.text.states import Array


REMEMBERED_EVERY = 128  # tokens of a prompt

Ready = tuple[WritingJob, "Array"]  # a text that is read, and the logits (V,) behind it
Group = list[tuple[TextJob, Row]]  # what runs in one batch
Outputs: TypeAlias = "list[Array] | ModelpadError"


@dataclass(slots=True)
class StepRecord:
    """What a step did: texts, tokens read and written, and seconds in the graph.

    `remembered` are tokens that texts did not have to read. `first_token_s` are the times from a
    request to its first token. `queue_s` and `callers` are of the requests that joined.
    """

    rows: int = 0
    read: int = 0
    written: int = 0
    remembered: int = 0
    inference_s: float = 0.0
    failures: int = 0
    queue_s: tuple[float, ...] = ()
    callers: tuple[object, ...] = ()
    first_token_s: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Stepper:
    """The active texts of one model. With a `pool`, batches of a step run side by side."""

    graph: TextGraph
    cache: PromptCache | None = None
    pool: ThreadPoolExecutor | None = None
    limits: StepLimits = field(default_factory=StepLimits)
    jobs: list[TextJob] = field(default_factory=list)
    turn: int = 0

    @property
    def rows(self) -> int:
        """How many texts are active, candidates of prompts that are still being read included."""
        return sum(job.rows for job in self.jobs)

    def add(self, job: TextJob) -> None:
        """A text joins; it starts behind the longest beginning that is remembered."""
        job.state = self.graph.states.start()
        if self.cache is not None and not job.reads_all:
            found = self.cache.find(job.tokens)
            if found is not None:
                length, remembered = found
                job.state = self.graph.states.copy(remembered.state)
                job.read, job.cached = length, length
                job.unread = len(job.tokens) - length
        self.jobs.append(job)

    def step(self, run: Run | None = None, now: Callable[[], float] = time.monotonic) -> StepRecord:
        """Advances every text that is being written by a token, and reads some of the others."""
        record = StepRecord()
        self._drop()
        self._start_cached(record, now)
        batches = plan_step(self.jobs, self.turn, self.limits)
        self.turn += 1
        groups = [
            group
            for batch in batches
            for group in self._group([(self.jobs[place], count) for place, count in batch])
        ]
        begun = now()
        outputs = self._compute([[row for _, row in group] for group in groups], run)
        ran = now()
        record.inference_s += ran - begun
        ready: list[Ready] = []
        for group, output in zip(groups, outputs, strict=True):
            ready += self._take(group, output, record, run, ran)
        self._write(ready, record, ran)
        self._drop()
        return record

    def warm_up(self) -> None:
        """Reads as much as a step may, where batches run side by side: later steps find the memory.

        The first such step takes twice as long as others; in the second, ONNX Runtime allocates
        what it then uses for all.
        """
        if self.pool is None:
            return
        limits = self.limits
        width = min(NARROW, limits.piece, self.graph.model.context or NARROW)

        def start() -> Row:
            return Row([0] * width, self.graph.states.start(), [width - 1])

        rows = limits.tokens // width
        for _ in range(2):
            self._compute([[start() for _ in range(rows)] for _ in range(limits.batches)])

    def finish(self) -> None:
        """Steps until every text is done."""
        while self.jobs:
            self.step()

    def _drop(self) -> None:
        if any(job.is_over for job in self.jobs):
            self.jobs = [job for job in self.jobs if not job.is_over]

    def _start_cached(self, record: StepRecord, now: Callable[[], float]) -> None:
        """Lets texts begin whose whole prompt is remembered, with the logits behind it."""
        ready: list[Ready] = []
        for job in self.jobs:
            if job.unread or job.done:
                continue
            found = self.cache.find(job.tokens) if self.cache is not None else None
            if found is None or found[1].logits is None or found[0] != len(job.tokens):
                job.state, job.read, job.unread = self.graph.states.start(), 0, len(job.tokens)
                continue
            assert isinstance(job, WritingJob)
            ready.append((job, found[1].logits))
        self._write(ready, record, now())

    def _group(self, batch: Sequence[tuple[TextJob, int]]) -> list[Group]:
        """The rows that can run together."""
        groups: list[Group] = []
        for job, count in batch:
            assert job.state is not None
            row = Row(job.next_tokens(count), job.state, job.wanted(count))
            for group in groups:
                if self.graph.can_join(group[0][1], row):
                    group.append((job, row))
                    break
            else:
                groups.append([(job, row)])
        return groups

    def _compute(self, batches: Sequence[list[Row]], run: Run | None = None) -> list[Outputs]:
        """The outputs of each batch, or why there are none; side by side if there is a pool."""

        def compute(rows: list[Row]) -> Outputs:
            try:
                return self.graph.run(rows, run)
            except ModelpadError as error:
                return error

        if self.pool is None or len(batches) < 2:
            return [compute(rows) for rows in batches]
        return [*self.pool.map(compute, batches)]

    def _take(
        self, group: Group, outputs: Outputs, record: StepRecord, run: Run | None, ran: float
    ) -> list[Ready]:
        """Hands the texts of a group their outputs; returns those that are to be continued.

        A group that failed is run again row by row.
        """
        ready: list[Ready] = []
        if isinstance(outputs, ModelpadError):
            if len(group) > 1 and (run is None or not run.stopped):
                for one in group:
                    again = self._compute([[one[1]]], run)[0]
                    ready += self._take([one], again, record, run, ran)
                return ready
            record.failures += len(group)
            for job, _ in group:
                job.fail(outputs)
            return ready
        record.rows += len(group)
        for (job, row), output in zip(group, outputs, strict=True):
            job.mark_advanced(ran)
            record.read += len(row.tokens)
            try:
                self._advance(job, len(row.tokens), output, ready)
            except Exception as error:
                job.fail(wrap_error(error))
        return ready

    def _advance(self, job: TextJob, count: int, output: Array, ready: list[Ready]) -> None:
        """Hands a job its outputs; notes in `ready` if it is to be continued."""
        if not isinstance(job, WritingJob):
            job.advance(count, output)
            return
        if self.cache is not None and not job.reads_all:
            self._remember(self.cache, job, count, output)
        job.advance(count, output)
        if not job.unread:
            ready.append((job, output[-1]))

    def _write(self, ready: Sequence[Ready], record: StepRecord, now: float) -> None:
        """Chooses the next token of each text, from its logits; candidates join here."""
        texts: list[Ready] = []
        for job, logits in ready:
            is_first = not job.written
            begun = self._begin(job)
            texts += [(each, logits) for each in begun]
            if is_first and begun:
                record.first_token_s.append(now - job.arrived)
                record.remembered += job.cached
        if not texts:
            return
        size = texts[0][0].tokenizer.size
        tokens = choose_tokens(
            [job.sampler for job, _ in texts],
            [logits[:size] for _, logits in texts],
            [job.never for job, _ in texts],
        )
        for (job, logits), token in zip(texts, tokens, strict=True):
            try:
                job.take(token, logits)
            except Exception as error:
                job.fail(wrap_error(error))
                continue
            record.written += 1
            if self.cache is not None and job.done and job.state is not None:
                self.cache.add(job.tokens[: job.read], job.state)  # its client may go on

    def _begin(self, job: WritingJob) -> list[WritingJob]:
        try:
            texts = job.begin()
        except Exception as error:
            job.fail(wrap_error(error))
            return []
        assert job.state is not None
        for other in texts:
            if other is not job:
                other.state = self.graph.states.copy(job.state)
                self.jobs.append(other)
        return texts

    def _remember(self, cache: PromptCache, job: WritingJob, count: int, output: Array) -> None:
        """Remembers the state behind a whole prompt, and every so often within a long one."""
        after = job.read + count
        is_whole = count == job.unread
        is_due = is_whole or after // REMEMBERED_EVERY > job.read // REMEMBERED_EVERY
        if job.count == 0 and count and is_due:
            assert job.state is not None
            cache.add(job.tokens[:after], job.state, output[-1] if is_whole else None)
