"""A language model behind the interface of `Batcher`, and with generation beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from modelpad.engine.batching import BatchLimits
from modelpad.engine.text.engine import TextEngine
from modelpad.engine.text.options import read_options
from modelpad.engine.text.requests import Classified, Generation, GenerationRequest, TextPiece
from modelpad.engine.text.typed_text import DEFAULTS, check_unicode, encode_classified, read_prompt

if TYPE_CHECKING:
    from modelpad.fields.arrays import Arrays

LONG_CHARS = 20_000  # texts that are encoded in a thread, as that takes milliseconds


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
        """The outputs for a batch of strings. Raises as `answer`."""
        session = self.session.find_signature(signature)
        (info,), (output,) = session.describe_tensors()
        texts = [_as_text(each) for each in arrays[info.name].reshape(-1).tolist()]
        if not session.sequence.generates:
            found = await asyncio.gather(*(self.classify(text) for text in texts))
            return {output.name: np.stack([np.asarray(each.scores) for each in found])}
        requests = [self.make_request(text, DEFAULTS) for text in texts]
        results = await asyncio.gather(*(self.generate_whole(each) for each in requests))
        whole = np.array([result[0].text for result in results], dtype=object)
        return {output.name: whole}

    def make_request(self, text: str, given: Mapping[str, object]) -> GenerationRequest:
        """Asks to continue a text. Raises `InvalidInput` as `read_options`."""
        check_unicode(text, self.session.signature.inputs[0].name)
        tokenizer = self.session.tokenizer
        return read_options(tokenizer.size, tuple(tokenizer.encode(text)), given)

    async def _prepare(self, values: Mapping[str, object]) -> tuple[str, GenerationRequest]:
        if any(
            isinstance(each, str | bytes) and len(each) > LONG_CHARS for each in values.values()
        ):
            return await asyncio.to_thread(read_prompt, self.session, values)
        return read_prompt(self.session, values)

    async def classify(self, text: str) -> Classified:
        """The scores of a text of any length. Raises as `submit`."""
        encode = self.session.tokenizer.encode
        is_long = len(text) > LONG_CHARS
        tokens = await asyncio.to_thread(encode, text) if is_long else encode(text)
        return await self.classify_tokens(tokens)

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


def _as_text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
