"""The bundle of a language model: its tokenizer, and its graph, which is loaded when it is needed.

Tensor protocols see a model that takes strings and returns strings or scores: the graph's own
tensors are pieces of texts and states, of which one without the others has no meaning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

from modelpad.engine.graph import SessionSettings
from modelpad.engine.residency import Residence
from modelpad.engine.tensors import TensorInfo
from modelpad.engine.text.graph import TextGraph
from modelpad.engine.text.jobs import Emitted, ReadingJob, TextJob, WritingJob
from modelpad.engine.text.prompt_cache import PromptCache
from modelpad.engine.text.requests import Classified, Generation, GenerationRequest
from modelpad.engine.text.scheduling import StepLimits
from modelpad.engine.text.stepper import Stepper
from modelpad.engine.text.typed_text import encode_classified, read_prompt
from modelpad.engine.typed import TypedAccess
from modelpad.errors import InvalidInput, ModelpadError, TooLarge
from modelpad.fields.byte_pairs import ByteLevelTokenizer, load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor

    from modelpad.bundle import Bundle, SequenceModel
    from modelpad.engine.memory import MemoryBudget

CACHE_BYTES = 32 * 1024 * 1024
WARM_UP_TOKENS = 2
SMALL_BYTES = 32 * 1024 * 1024  # of a graph


class TextSession:
    """A language model: makes jobs, and the stepper that runs them.

    With a memory budget, the graph is loaded when it is first used, and again after an eviction.
    """

    def __init__(
        self,
        bundle: Bundle,
        settings: SessionSettings | None = None,
        memory: MemoryBudget | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """Loads the tokenizer, and the graph unless there is a memory budget.

        Raises `BundleInvalid` if one of them is damaged or does not match the manifest.
        """
        sequence = bundle.manifest.sequence
        assert sequence is not None, "the bundle has no sequence model"
        self.bundle = bundle
        self.sequence: SequenceModel = sequence
        self.signature = bundle.manifest.signature
        self.settings = settings or SessionSettings()
        self.typed = TypedAccess(self.signature)
        self.tokenizer: ByteLevelTokenizer = load_tokenizer(
            bundle.path(sequence.tokenizer).read_bytes(), sequence.tokenizer
        )
        self._never = tuple(
            token
            for token, content in enumerate(self.tokenizer.contents)
            if not content or (token in self.tokenizer.special and token not in sequence.end)
        )
        self._cache_bytes = cache_bytes
        self._stepper: Residence[Stepper] = Residence(
            self, bundle.folder, self._load, memory, is_busy=lambda stepper: bool(stepper.jobs)
        )
        if memory is None:
            self._stepper.open()

    # What a session is to the server.

    @property
    def title(self) -> str:
        """The bundle's name."""
        return self.bundle.manifest.name

    @property
    def graph_bytes(self) -> int:
        """The size of the graph's files."""
        return self.bundle.graph_bytes

    @property
    def process_bytes(self) -> int:
        """It has no process of its own."""
        return 0

    @property
    def is_open(self) -> bool:
        """Whether the graph is loaded."""
        return self._stepper.graph is not None

    @property
    def is_described(self) -> bool:
        """Its tensors are known from its manifest."""
        return True

    @property
    def signature_names(self) -> tuple[str, ...]:
        """The name of its only signature."""
        return (self.bundle.manifest.signature_name,)

    def find_signature(self, name: str) -> TextSession:
        """Itself. Raises `InvalidInput` for the name of another signature."""
        if name in ("", *self.signature_names):
            return self
        raise InvalidInput(
            f'Serving signature name: "{name[:100]}" not found in signature def.',
            hint=f"It has: {self.signature_names[0]}.",
            field="signature_name",
            expected=self.signature_names[0],
            got=name[:100],
        )

    def describe_tensors(self) -> tuple[list[TensorInfo], list[TensorInfo]]:
        """A string for each text; strings or class scores for each of them."""
        text = self.signature.input_bindings[0].tensor
        output = self.signature.output_bindings[0].tensor
        if self.sequence.generates:
            outputs = TensorInfo(output, "string", (-1,))
        else:
            classes = getattr(self.signature.outputs[0], "classes", ())
            outputs = TensorInfo(output, "float32", (-1, len(classes) or -1))
        return [TensorInfo(text, "string", (-1,))], [outputs]

    def evict(self) -> bool:
        """Unloads the graph; returns False if it is in use, or has unfinished texts."""
        return self._stepper.evict()

    def close(self) -> None:
        """Unloads the graph permanently."""
        self._stepper.close()

    def use(self) -> AbstractContextManager[Stepper]:
        """The stepper with its loaded graph, which is not evicted meanwhile."""
        return self._stepper.use()

    def _load(self) -> Stepper:
        """A small model's operators are too short to be divided among threads: batches are.

        The memory that a step frees is kept for the next one, which takes as much.
        """
        threads = self.settings.threads
        batches = threads if self.graph_bytes <= SMALL_BYTES else 1
        settings = replace(self.settings, threads=1 if batches > 1 else threads, arena=True)
        graph = TextGraph(self.bundle, self.sequence, settings)
        graph.probe()
        cache = PromptCache(graph.states, self._cache_bytes) if self._cache_bytes else None
        return Stepper(graph, cache, _make_pool(batches), StepLimits(batches=batches))

    # Jobs.

    def make_writing(self, request: GenerationRequest, emit: Callable[..., None]) -> TextJob:
        """The job of a request. Raises `InvalidInput` and `TooLarge` as `check_request`."""
        self.check_request(request)
        start = self._find_start(request.prompt)
        return WritingJob(
            tokens=[*start, *request.prompt],
            emit=emit,
            request=request,
            tokenizer=self.tokenizer,
            end=frozenset(self.sequence.end),
            skipped=len(start),
            banned=self._never,
        )

    def make_reading(self, text: Sequence[int], emit: Callable[..., None]) -> TextJob:
        """The job of a text, as tokens, to be classified. Raises `TooLarge` beyond the context."""
        tokens = [*self._find_start(text), *text]
        self._check_length(len(tokens), 0)
        return ReadingJob(tokens=tokens, emit=emit)

    def _find_start(self, tokens: Sequence[int]) -> list[int]:
        """What to put before a text: the start token, unless it begins with that."""
        start = self.sequence.start
        return [] if start is None or [*tokens[:1]] == [start] else [start]

    def check_request(self, request: GenerationRequest) -> None:
        """Raises `InvalidInput` for tokens that there are not, `TooLarge` beyond the context."""
        start = self.sequence.start is not None
        if not request.prompt and not start:
            raise InvalidInput(
                "The prompt is empty.",
                hint="Send at least one token.",
                field="prompt",
                expected="at least one token",
                got="none",
            )
        size = self.tokenizer.size
        wrong = [token for token in request.prompt if not 0 <= token < size]
        if wrong:
            raise InvalidInput(
                f"The prompt has a token {wrong[0]}; the vocabulary has {size:,}.",
                hint="Encode it with POST /tokenize.",
                field="prompt",
                expected=f"tokens below {size}",
                got=str(wrong[0]),
            )
        self._check_length(start + len(request.prompt), request.max_tokens)

    def _check_length(self, prompt: int, new: int) -> None:
        context = self.sequence.context
        if context is not None and prompt + new > context:
            raise TooLarge(
                f"This model's maximum context length is {context:,} tokens; {prompt + new:,} were"
                f" requested: {prompt:,} in the prompt and {new:,} to write.",
                hint="Send a shorter text, or ask for fewer tokens.",
                field="prompt",
                limit=context,
                got=prompt + new,
            )

    # Without an engine.

    def run(self, make: Callable[[Callable[..., None]], TextJob]) -> Iterator[Emitted]:
        """Yields what a job emits, step by step. Raises what it fails with."""
        emitted: list[Emitted | ModelpadError] = []
        job = make(emitted.append)
        with self.use() as stepper:
            own = Stepper(stepper.graph)
            own.add(job)
            while own.jobs:
                own.step()
                for item in emitted:
                    if isinstance(item, ModelpadError):
                        raise item
                    yield item
                emitted.clear()

    def answer(self, values: Mapping[str, object]) -> dict[str, object]:
        """The encoded outputs for one item's values, without an engine."""
        text, options = read_prompt(self, values)
        if self.sequence.generates:
            request = replace(options, stream=False)
            for item in self.run(lambda emit: self.make_writing(request, emit)):
                assert isinstance(item, Generation)
                return {self.signature.outputs[0].name: item.text}
        tokens = self.tokenizer.encode(text)
        for item in self.run(lambda emit: self.make_reading(tokens, emit)):
            assert isinstance(item, Classified)
            return encode_classified(self.typed, item)
        raise AssertionError("a job has emitted nothing")

    def warm_up(self) -> None:
        """Runs a text and a full step, so that the first requests are not slower than others.

        It writes hardly any tokens.
        """
        few = {"max_tokens": WARM_UP_TOKENS} if self.sequence.generates else {}
        for sample in self.bundle.manifest.samples[:1]:
            self.answer({**self.bundle.sample_values(sample.inputs), **few})
        with self.use() as stepper:
            stepper.warm_up()


def _make_pool(threads: int) -> ThreadPoolExecutor | None:
    """Threads for the batches of a step; they end with the stepper."""
    if threads == 1:
        return None
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(threads, "modelpad-text-batch")
