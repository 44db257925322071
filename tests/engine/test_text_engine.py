"""The engine of language models: whatever else is in a batch, a text is the same."""

from __future__ import annotations

import asyncio
import gc
import random
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelpad.engine import QueueLimits
from modelpad.errors import (
    BundleInvalid,
    DeadlineExceeded,
    InvalidInput,
    NotReady,
    Overloaded,
    TooLarge,
)

pytest.importorskip("onnx")
pytest.importorskip("tokenizers")

from modelpad.engine.text import (
    Generation,
    GenerationRequest,
    SamplingOptions,
    TextBatcher,
    TextLimits,
    TextSession,
)
from modelpad.engine.text.graph import Row, TextGraph
from modelpad.engine.text.jobs import TextJob
from modelpad.engine.text.prompt_cache import PromptCache
from modelpad.engine.text.scheduling import StepLimits
from modelpad.engine.text.stepper import REMEMBERED_EVERY, Stepper
from modelpad.engine.text.typed_text import DEFAULTS
from tests.text_graphs import SENTENCES, Size, write_critic, write_writer

PROMPT = "My favorite part was when"


@pytest.fixture(scope="module", params=["float32", "rows"])
def writer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TextSession:
    folder = tmp_path_factory.mktemp("bundles") / request.param
    return TextSession(write_writer(folder, Size(matmul=request.param)))


@pytest.fixture(scope="module")
def critic(tmp_path_factory: pytest.TempPathFactory) -> TextSession:
    return TextSession(write_critic(tmp_path_factory.mktemp("bundles") / "critic"))


@pytest.fixture(scope="module", params=[True, False], ids=["offsets", "equal-lengths"])
def gpt2(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TextSession, Any]:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests.engine.tiny_gpt2 import write_gpt2

    folder = tmp_path_factory.mktemp("bundles") / "gpt2"
    bundle, model = write_gpt2(folder, offsets=request.param)
    return TextSession(bundle), model


def ask(session: TextSession, text: str = PROMPT, **options: Any) -> GenerationRequest:
    sampling = SamplingOptions(**{"seed": 7, **options.pop("sampling", {})})
    prompt = tuple(session.tokenizer.encode(text))
    return GenerationRequest(prompt, sampling, **options)


def write(session: TextSession, *requests: GenerationRequest, **how: Any) -> list[list[Generation]]:
    """The texts of requests that run together, without a thread."""
    with session.use() as stepper:
        own = Stepper(stepper.graph, **how)
        found: list[list[Any]] = []
        for request in requests:
            found.append([])
            own.add(session.make_writing(request, found[-1].append))
        own.finish()
    return [sorted(each, key=lambda one: one.index) for each in found]


def run(session: TextSession, act: Callable[[TextBatcher], Awaitable[Any]], **limits: Any) -> Any:
    async def work() -> Any:
        engine = TextBatcher(session, **limits)
        try:
            return await act(engine)
        finally:
            engine.close()
            await asyncio.to_thread(engine.join, 2.0)

    return asyncio.run(work())


# What a text depends on.


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_the_batch_never_changes_a_text(writer: TextSession, data: st.DataObject) -> None:
    """Log probabilities are compared bit by bit: other texts, pieces and turns change none."""
    request = ask(
        writer, max_tokens=12, logprobs=3, n=2, candidates=2, echo=data.draw(st.booleans())
    )
    (alone,) = write(writer, request)
    prompts = st.sampled_from([*SENTENCES, "a", SENTENCES[0] * 8])
    options = st.fixed_dictionaries(
        {"max_tokens": st.integers(0, 20), "sampling": st.just({"seed": None, "temperature": 2.0})}
    )
    others = [
        ask(writer, prompt, **each)
        for prompt, each in data.draw(st.lists(st.tuples(prompts, options), max_size=12))
    ]
    place = data.draw(st.integers(0, len(others)))
    piece = data.draw(st.sampled_from([2, 3, 8, 128]))
    limits = StepLimits(piece, max(piece, 16), data.draw(st.integers(1, 3)))
    with ThreadPoolExecutor(2) as pool:
        how = {"limits": limits, "pool": data.draw(st.sampled_from([None, pool]))}
        together = write(writer, *others[:place], request, *others[place:], **how)
    assert together[place] == alone


def test_a_graph_whose_rows_depend_on_each_other_runs_them_one_by_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    session = TextSession(write_writer(tmp_path / "w", Size(matmul="batch")))
    assert "depend on the batch" in caplog.text
    request = ask(session, "a", max_tokens=8, logprobs=1)
    (alone,) = write(session, request)
    assert write(session, ask(session), request, ask(session, "b" * 9))[1] == alone


@settings(max_examples=25, deadline=None)
@given(
    prompt=st.text("ab é🙂", min_size=1, max_size=30),
    stop=st.lists(st.sampled_from([" ", "e", "the", "\n", "🙂"]), max_size=2),
    options=st.fixed_dictionaries(
        {
            "max_tokens": st.integers(0, 25),
            "echo": st.booleans(),
            "logprobs": st.sampled_from([None, 0, 2]),
            "n": st.integers(1, 3),
            "min_tokens": st.integers(0, 3),
            "max_words": st.integers(0, 3),
        }
    ),
    temperature=st.sampled_from([0.0, 0.7, 3.0]),
)
def test_streamed_texts_are_the_same(
    writer: TextSession, prompt: str, stop: list[str], options: dict[str, Any], temperature: float
) -> None:
    request = ask(
        writer,
        prompt,
        stop=tuple(stop),
        candidates=options["n"],
        sampling={"temperature": temperature},
        **options,
    )
    (whole,) = write(writer, request)
    pieces: list[Any] = []
    with writer.use() as stepper:
        own = Stepper(stepper.graph)
        own.add(writer.make_writing(replace(request, stream=True), pieces.append))
        own.finish()
    streamed = {index: Generation(index) for index in range(request.n)}
    for piece in pieces:
        streamed[piece.index].add(piece)
    for each in whole:
        each.score = 0.0
        assert streamed[each.index] == each
        written = each.text[len(prompt) :] if request.echo else each.text
        if not request.min_tokens:
            assert not any(word in written for word in stop)
        if request.max_words and not stop:
            assert len(written.split()) <= request.max_words


@settings(max_examples=20, deadline=None)
@given(st.integers(8, 40), st.integers(0, 30), st.integers(2, 20))
def test_a_remembered_prompt_gives_the_same_text(
    writer: TextSession, length: int, more: int, piece: int
) -> None:
    tokens = tuple(writer.tokenizer.encode(" ".join(SENTENCES)))
    first = GenerationRequest(tokens[:length], SamplingOptions(seed=1), max_tokens=5, logprobs=2)
    second = replace(first, prompt=tokens[: length + more])
    (expected,) = write(writer, second)
    with writer.use() as stepper:
        cache = PromptCache(stepper.graph.states, 1 << 20)
    limits = StepLimits(piece, 64, 1)
    write(writer, first, cache=cache, limits=limits)
    assert len(cache)
    job = writer.make_writing(second, lambda _: None)
    with writer.use() as stepper:
        Stepper(stepper.graph, cache).add(job)
    assert job.cached > 0
    assert write(writer, second, cache=cache, limits=limits) == [expected]
    assert write(writer, second, cache=cache) == [expected]


def test_a_long_prompt_is_remembered_every_so_often(writer: TextSession) -> None:
    prompt = tuple(writer.tokenizer.encode("".join(SENTENCES) * 20))[:301]
    with writer.use() as stepper:
        cache = PromptCache(stepper.graph.states, 1 << 20)
    request = GenerationRequest(prompt, max_tokens=1)
    write(writer, request, cache=cache, limits=StepLimits(16, 64, 1))
    tokens = writer.make_writing(request, lambda _: None).tokens
    hits = [cache.find([*tokens[:end], 0]) for end in range(len(tokens))]
    lengths = {hit[0] for hit in hits if hit is not None}
    assert [each // REMEMBERED_EVERY for each in sorted(lengths)] == [1, 2]
    assert len(cache) == 3  # and the whole


def test_the_cache_stays_within_its_bytes(writer: TextSession) -> None:
    with writer.use() as stepper:
        states = stepper.graph.states
    cache = PromptCache(states, 20_000)
    for first in range(200):
        state = states.start()
        state.length = 20
        cache.add([first, *range(19)], state, np.zeros(10, np.float32))
        assert cache.used <= 20_000
    assert 0 < len(cache) < 200
    assert cache.find([199, *range(19)]) is not None
    assert cache.find([0, *range(19)]) is None
    cache.clear()
    assert (cache.used, len(cache)) == (0, 0)


# Options.


def test_a_prompt_is_scored_like_what_was_written(writer: TextSession) -> None:
    """The log probabilities of a text are the same whether it is written or read."""
    (written,) = write(writer, ask(writer, max_tokens=10, logprobs=1, ignore_end=True))[0]
    prompt = (*ask(writer).prompt, *(each.token for each in written.tokens))
    request = GenerationRequest(prompt, max_tokens=0, logprobs=1, echo=True)
    (read,) = write(writer, request)[0]
    assert [each.token for each in read.tokens] == [*prompt]
    assert [each.logprob for each in read.tokens[-10:]] == [each.logprob for each in written.tokens]
    assert read.text == PROMPT + written.text
    assert read.count == 0
    assert all(np.isclose(each.top[0][1], max(v for _, v in each.top)) for each in read.tokens)


def test_the_best_of_several_is_returned(writer: TextSession) -> None:
    request = ask(writer, max_tokens=6, n=6, candidates=6, logprobs=0)
    all_texts = run(writer, lambda engine: engine.generate_whole(request))
    best = run(writer, lambda engine: engine.generate_whole(replace(request, n=2)))
    means = sorted((np.mean([t.logprob for t in each.tokens]) for each in all_texts), reverse=True)
    assert [np.mean([t.logprob for t in each.tokens]) for each in best] == means[:2]
    assert [each.index for each in best] == [0, 1]


def test_texts_end_at_the_end_token_and_not_before_min_tokens(writer: TextSession) -> None:
    bias = {"logit_bias": {0: 100.0}, "temperature": 0.0}
    (ended,) = write(writer, ask(writer, max_tokens=9, sampling=bias))[0]
    assert (ended.text, ended.count, ended.finish_reason) == ("", 1, "stop")
    (later,) = write(writer, ask(writer, max_tokens=9, min_tokens=4, sampling=bias))[0]
    assert (later.count, later.finish_reason) == (5, "stop")
    (never,) = write(writer, ask(writer, max_tokens=9, ignore_end=True, sampling=bias))[0]
    assert (never.count, never.finish_reason) == (9, "length")


# Transformers.


@pytest.mark.slow
def test_a_cache_of_keys_and_values_gives_the_models_own_logits(
    gpt2: tuple[TextSession, Any],
) -> None:
    import torch

    session, model = gpt2
    tokens = [0, *session.tokenizer.encode(" ".join(SENTENCES))][:40]
    with torch.no_grad():
        expected = model(torch.tensor([tokens])).logits[0].numpy()
    graph = TextGraph(session.bundle, session.sequence, session.settings)
    state = graph.states.start()
    found = []
    for start, stop in ((0, 1), (1, 2), (2, 19), (19, 20), (20, 40)):
        row = Row(tokens[start:stop], state, range(stop - start))
        found += [*graph.run([row])[0]]
    assert np.abs(np.stack(found) - expected).max() < 1e-3


@pytest.mark.slow
def test_a_transformers_texts_do_not_depend_on_the_batch(gpt2: tuple[TextSession, Any]) -> None:
    session, _ = gpt2
    requests = [
        ask(session, prompt, max_tokens=8, logprobs=1) for prompt in (*SENTENCES, "a", SENTENCES[0])
    ]
    alone = [write(session, request)[0] for request in requests]
    together = write(session, *requests, limits=StepLimits(8, 16, 2))
    for one, other in zip(alone, together, strict=True):
        assert one[0].text == other[0].text
        assert np.allclose(
            [each.logprob or 0.0 for each in one[0].tokens],
            [each.logprob or 0.0 for each in other[0].tokens],
            atol=1e-4,
        )
    with session.use() as stepper:
        cache = PromptCache(stepper.graph.states, 1 << 20)
    for _ in range(2):
        again = write(session, requests[0], cache=cache)[0]
        assert again[0].text == alone[0][0].text


@pytest.mark.slow
def test_a_text_beyond_the_context_is_refused(gpt2: tuple[TextSession, Any]) -> None:
    session, _ = gpt2
    with pytest.raises(TooLarge, match="maximum context length is 96 tokens"):
        session.make_writing(ask(session, max_tokens=95), lambda _: None)
    with pytest.raises(InvalidInput, match="has a token 5000"):
        session.make_writing(GenerationRequest((5000,)), lambda _: None)


# Classification.


def test_a_long_text_is_read_to_its_end(critic: TextSession) -> None:
    text = SENTENCES[1] * 700
    tokens = len(critic.tokenizer.encode(text)) + 1
    answer = run(critic, lambda engine: engine.answer({"text": text}))["label"]
    assert answer["tokens_read"] == tokens > 15_000
    assert answer == critic.answer({"text": text})["label"]
    assert abs(sum(answer["scores"].values()) - 1) < 1e-5
    longer = run(critic, lambda engine: engine.answer({"text": text + " waste" * 3000}))["label"]
    assert longer["scores"] != answer["scores"]


def test_classification_does_not_depend_on_the_batch(critic: TextSession) -> None:
    async def act(engine: TextBatcher) -> Any:
        alone = [await engine.classify(each) for each in SENTENCES]
        texts = [*SENTENCES, *(SENTENCES[0] * size for size in range(1, 30)), *SENTENCES]
        together = await asyncio.gather(*(engine.classify(each) for each in texts))
        return alone, together[:4], together[-4:]

    alone, first, last = run(critic, act)
    for one, *others in zip(alone, first, last, strict=True):
        assert all(np.allclose(one.scores, other.scores, atol=1e-6) for other in others)


# Many callers.


def test_a_caller_that_leaves_ends_its_text(writer: TextSession) -> None:
    async def act(engine: TextBatcher) -> Any:
        request = ask(writer, max_tokens=10_000, n=3, candidates=3, ignore_end=True)
        async with aclosing(engine.generate(request)) as pieces:
            async for _ in pieces:
                break
        assert engine.waiting == 0
        await engine.generate_whole(ask(writer, max_tokens=2))
        with writer.use() as stepper:
            return len(stepper.jobs)

    assert run(writer, act) == 0


def test_a_full_queue_is_refused(writer: TextSession) -> None:
    async def act(engine: TextBatcher) -> None:
        request = ask(writer, max_tokens=5000, ignore_end=True, stream=True)
        async with aclosing(engine.generate(request)) as first:
            await anext(first)
            async with aclosing(engine.generate(request)) as second:
                await anext(second)
                assert engine.is_full
                with pytest.raises(Overloaded, match="queue is full") as error:
                    await engine.generate_whole(request)
                assert error.value.details["retry_after_s"] == 1
                with pytest.raises(TooLarge):
                    await engine.generate_whole(replace(request, candidates=3, n=3))
        await engine.generate_whole(replace(request, max_tokens=1))

    run(writer, act, limits=QueueLimits(2))


@pytest.mark.parametrize(("length", "tokens"), [(4, 1_000_000), (128, 600)])
def test_a_batch_of_any_size_leaves_room_for_others(
    critic: TextSession,
    writer: TextSession,
    length: int,
    tokens: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(DEFAULTS, "max_tokens", 8)
    texts = [SENTENCES[number % 4] for number in range(20)]
    peaks = []

    async def act(engine: TextBatcher) -> Any:
        engine.observe_step = lambda record: peaks.append(engine.waiting)
        (info,), _ = engine.session.describe_tensors()
        (found,) = (await engine.run({info.name: np.array(texts, dtype=object)})).values()
        return found

    limits = {"limits": QueueLimits(length), "texts": TextLimits(tokens=tokens)}
    scores = run(critic, act, **limits)
    assert len(scores) == len(run(writer, act, **limits)) == 20
    assert max(peaks) <= length // 2
    assert np.allclose(scores[:4], scores[4:8], atol=1e-6)
    assert not np.allclose(scores[0], scores[1], atol=1e-6)


def test_an_error_ends_the_rest_of_a_batch(writer: TextSession) -> None:
    async def act(engine: TextBatcher) -> Any:
        texts = np.array([*SENTENCES, "\ud800", *SENTENCES], dtype=object)
        with pytest.raises(InvalidInput, match="surrogate"):
            await engine.run({engine.session.describe_tensors()[0][0].name: texts})
        await asyncio.sleep(0)
        return engine.waiting

    assert run(writer, act) == 0


def test_the_tokens_of_all_requests_are_bounded(writer: TextSession) -> None:
    async def act(engine: TextBatcher) -> None:
        request = ask(writer, max_tokens=900, ignore_end=True)
        async with aclosing(engine.generate(request)) as pieces:
            await anext(pieces)
            with pytest.raises(Overloaded):
                await engine.generate_whole(request)
        with pytest.raises(TooLarge):
            await engine.generate_whole(replace(request, max_tokens=1100))

    run(writer, act, texts=TextLimits(tokens=1000))


def test_waiting_texts_join_as_others_end(writer: TextSession) -> None:
    async def act(engine: TextBatcher) -> Any:
        request = ask(writer, max_tokens=20, n=2, candidates=2)
        return await asyncio.gather(*(engine.generate_whole(request) for _ in range(10)))

    found = run(writer, act, texts=TextLimits(texts=3))
    assert all(each == found[0] for each in found)


def test_a_request_that_never_advances_fails(
    writer: TextSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(engine: TextBatcher) -> None:
        long = ask(writer, max_tokens=16_000, ignore_end=True)
        async with aclosing(engine.generate(long)) as pieces:
            await anext(pieces)
            with pytest.raises(DeadlineExceeded):
                await engine.generate_whole(ask(writer, max_tokens=1))

    run(writer, act, limits=QueueLimits(timeout_s=0.3), texts=TextLimits(texts=1))


def test_a_batch_of_texts_has_the_time_that_its_request_gives(critic: TextSession) -> None:
    async def act(engine: TextBatcher) -> None:
        (info,), _ = critic.describe_tensors()
        texts = np.array([PROMPT * 2000] * 40, dtype=object)
        with pytest.raises(DeadlineExceeded, match=r"longer than 0\.01 s"):
            await engine.run({info.name: texts}, timeout_s=0.01)
        assert await engine.drain(10)  # the texts that had begun have ended
        short = await engine.run({info.name: texts[:1]}, timeout_s=60)
        assert len(next(iter(short.values()))) == 1

    run(critic, act, texts=TextLimits(tokens=10_000_000))


def test_a_warm_up_changes_no_text(writer: TextSession) -> None:
    request = ask(writer, max_tokens=8)
    before = write(writer, request)
    with writer.use() as stepper:
        turn, jobs = stepper.turn, [*stepper.jobs]
        stepper.warm_up()
        assert (stepper.turn, stepper.jobs) == (turn, jobs)
    assert write(writer, request) == before


def test_a_closed_engine_fails_its_requests(writer: TextSession) -> None:
    async def act(engine: TextBatcher) -> None:
        request = ask(writer, max_tokens=16_000, ignore_end=True)
        pieces = engine.generate(request)
        await anext(pieces)
        engine.close()
        with pytest.raises(NotReady):
            async for _ in pieces:
                pass
        with pytest.raises(NotReady):
            await engine.generate_whole(request)

    run(writer, act)


def test_an_evicted_model_leaves_memory_while_its_engine_runs(critic: TextSession) -> None:
    async def act(engine: TextBatcher) -> None:
        first: Any = await engine.classify(PROMPT)
        with critic.use() as stepper:
            graph = weakref.ref(stepper.graph)
        del stepper
        assert critic.evict()
        gc.collect()
        assert graph() is None
        again: Any = await engine.classify(PROMPT)
        assert np.array_equal(again.scores, first.scores)

    run(critic, act)


def test_nothing_is_left_of_many_callers_that_vanish(writer: TextSession) -> None:
    chance = random.Random(5)

    async def visit(engine: TextBatcher, number: int) -> None:
        request = ask(writer, SENTENCES[number % 4] * (number % 5 + 1), max_tokens=40)
        left = chance.randint(0, 30)
        async with aclosing(engine.generate(request)) as pieces:
            async for _ in pieces:
                left -= 1
                if left < 0:
                    return

    async def act(engine: TextBatcher) -> Any:
        tasks = [asyncio.create_task(visit(engine, number)) for number in range(100)]
        await asyncio.sleep(0.05)
        for task in tasks[::7]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert await engine.drain(5.0)
        await engine.generate_whole(ask(writer, max_tokens=1))
        with writer.use() as stepper:
            return engine.waiting, engine._held_tokens, len(stepper.jobs)

    gc.collect()
    gc.disable()  # a server hardly ever collects: what is in a cycle stays
    try:
        assert run(writer, act) == (0, 0, 0)
        left = sum(issubclass(type(each), TextJob) for each in gc.get_objects())
        assert left < 5, f"{left} of 101 texts are still in memory"
    finally:
        gc.enable()


# Bundles.


@pytest.fixture
def broken(tmp_path: Path) -> Callable[..., None]:
    def check(**changes: Any) -> None:
        bundle = write_writer(tmp_path / "broken")
        assert bundle.manifest.sequence is not None
        sequence = replace(bundle.manifest.sequence, **changes)
        with pytest.raises(BundleInvalid):
            TextSession(replace(bundle, manifest=replace(bundle.manifest, sequence=sequence)))

    return check


@pytest.mark.parametrize("changes", [{"output": "scores"}, {"tokens": "ids"}, {"states": ()}])
def test_a_manifest_that_does_not_match_its_graph_is_refused(
    broken: Callable[..., None], changes: dict[str, Any]
) -> None:
    broken(**changes)
