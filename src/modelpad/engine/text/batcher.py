"""A language model behind the interface of `Batcher`, and with generation beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

import numpy as np

from modelpad.engine.batcher import exceed_deadline
from modelpad.engine.batching import BatchLimits
from modelpad.engine.text.engine import TextEngine
from modelpad.engine.text.options import read_options
from modelpad.engine.text.requests import Classified, Generation, GenerationRequest, TextPiece
from modelpad.engine.text.typed_text import DEFAULTS, check_unicode, encode_classified, read_prompt

if TYPE_CHECKING:
    from modelpad.fields.arrays import Arrays

LONG_CHARS = 20_000  # texts that are encoded in a thread, as that takes milliseconds
AT_ONCE = 16  # texts of a request that advance together, so that others have room

Given = TypeVar("Given", bound=Sequence[Any])
Result = TypeVar("Result")
Args = TypeVarTuple("Args")


class TextBatcher(TextEngine):
    """Runs requests for whole texts as a `Batcher` does, and generation piece by piece."""

    @property
    def batches(self) -> BatchLimits:
        """How many texts advance together."""
        return BatchLimits(self.texts.texts)

    async def answer(self, values: Mapping[str, object]) -> dict[str, object]:
        """The encoded outputs for one item's values. Raises as `submit` and `read_prompt`."""
        text, request = await self._prepare(values)
        if not self.session.sequence.generates:
            return encode_classified(self.session.typed, await self.classify(text))
        name = self.session.signature.outputs[0].name
        generations = await self.generate_whole(replace(request, stream=False))
        if request.n == 1:
            return {name: generations[0].text}
        return {name: [each.text for each in generations]}

    async def run(
        self, arrays: Arrays, *, timeout_s: float | None = None, signature: str = ""
    ) -> Arrays:
        """The outputs for a batch of strings.

        However long it takes all in all, unless there is a `timeout_s`: texts must advance, which
        the engine watches. Raises as `answer`, and `DeadlineExceeded`.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self._run_texts(arrays, signature)
        except TimeoutError as error:
            assert timeout_s is not None
            raise exceed_deadline(timeout_s) from error

    async def _run_texts(self, arrays: Arrays, signature: str) -> Arrays:
        session = self.session.find_signature(signature)
        (info,), (output,) = session.describe_tensors()
        texts = [_as_text(each) for each in arrays[info.name].reshape(-1).tolist()]
        if not session.sequence.generates:
            found = await self.run_all(self.classify, texts)
            return {output.name: np.stack([np.asarray(each.scores) for each in found])}
        written = await self.run_all(self._continue, texts, DEFAULTS["max_tokens"])
        return {output.name: np.array(written, dtype=object)}

    async def run_all(
        self,
        work: Callable[[Given], Coroutine[Any, Any, Result]],
        items: Sequence[Given],
        written: int = 0,
    ) -> list[Result]:
        """The results of `work` for each text, or its tokens: few at a time, to leave others room.

        Each may write up to `written` tokens. Raises the first error, and ends the others then.
        """
        found: list[Result] = []
        sizes = [len(each) + written for each in items]
        rows = min(AT_ONCE, self.limits.max_length // 2)
        for start, stop in _divide(sizes, rows, self.texts.tokens // 2):
            tasks = [asyncio.ensure_future(work(each)) for each in items[start:stop]]
            try:
                found += await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
        return found

    async def _continue(self, text: str) -> str:
        request = await self.run_apart(len(text), self.make_request, text, DEFAULTS)
        (written,) = await self.generate_whole(request)
        return written.text

    def make_request(self, text: str, given: Mapping[str, object]) -> GenerationRequest:
        """Asks to continue a text. Raises `InvalidInput` as `read_options`."""
        check_unicode(text, self.session.signature.inputs[0].name)
        tokenizer = self.session.tokenizer
        return read_options(tokenizer.size, tuple(tokenizer.encode(text)), given)

    async def _prepare(self, values: Mapping[str, object]) -> tuple[str, GenerationRequest]:
        return await self.run_apart(count_chars(values), read_prompt, self.session, values)

    @staticmethod
    async def run_apart(size: int, work: Callable[[*Args], Result], *given: *Args) -> Result:
        """The result of `work`, which encodes up to `size` characters: in a thread for many."""
        if size > LONG_CHARS:
            return await asyncio.to_thread(work, *given)
        return work(*given)

    async def classify(self, text: str) -> Classified:
        """The scores of a text of any length. Raises as `submit`."""
        encode = self.session.tokenizer.encode
        return await self.classify_tokens(await self.run_apart(len(text), encode, text))

    async def classify_tokens(self, tokens: Sequence[int]) -> Classified:
        """The scores, and the embedding if there is one, of a text's tokens. Raises as `submit`."""
        make = self.session.make_reading
        items = self.submit(lambda emit: make(tokens, emit), len(tokens))
        async with aclosing(items):
            async for item in items:
                assert isinstance(item, Classified)
                return item
        raise AssertionError("a job has emitted nothing")

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[TextPiece, None]:
        """The pieces of all texts as they come. Raises as `submit`."""
        request = replace(request, stream=True)
        items = self.submit(
            lambda emit: self.session.make_writing(request, emit), request.held_tokens
        )
        async with aclosing(items):
            async for item in items:
                assert isinstance(item, TextPiece)
                yield item

    async def generate_whole(self, request: GenerationRequest) -> list[Generation]:
        """The `n` best texts, in the order of their index or quality. Raises as `submit`."""
        found: list[Any] = []
        items = self.submit(
            lambda emit: self.session.make_writing(request, emit), request.held_tokens
        )
        async with aclosing(items):
            async for item in items:
                found.append(item)
        if request.candidates > request.n:
            found.sort(key=lambda each: (-each.score, each.index))
            found = found[: request.n]
            for index, each in enumerate(found):
                each.index = index
        return sorted(found, key=lambda each: each.index)


def _divide(sizes: Sequence[int], rows: int, size: int) -> Iterator[tuple[int, int]]:
    """Parts of so many rows, fewer if they exceed this size together; one always fits."""
    start = 0
    while start < len(sizes):
        stop = start + 1
        while stop < min(len(sizes), start + rows) and sum(sizes[start : stop + 1]) <= size:
            stop += 1
        yield start, stop
        start = stop


def count_chars(values: Mapping[str, object]) -> int:
    """How many characters or bytes the texts among a request's values have."""
    return sum(len(each) for each in values.values() if isinstance(each, str | bytes))


def _as_text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
