"""Choosing tokens: each filter against a plain definition, and shares against probabilities."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelpad.engine.text.sampling import (
    BLOCK,
    Sampler,
    SamplingOptions,
    choose_tokens,
    draw_rows,
    keep_likeliest,
    log_softmax,
)


def make_logits(size: int, seed: int, spread: float = 3.0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(size) * spread).astype(np.float32)


def filter_plainly(weights: np.ndarray, top_k: int, top_p: float, min_p: float) -> list[int]:
    order = [int(each) for each in np.argsort(-weights, kind="stable")]
    if top_k:
        order = order[:top_k]
    if top_p < 1:
        whole = weights[order].sum(dtype=np.float64)
        kept, total = [], 0.0
        for token in order:
            kept.append(token)
            total += float(weights[token])
            if total >= top_p * whole:
                break
        order = kept
    return [token for token in order if weights[token] >= min_p] or order[:1]


@settings(max_examples=300, deadline=None)
@given(
    size=st.sampled_from([1, 5, 300, 3000]),
    seed=st.integers(0, 1000),
    spread=st.sampled_from([0.01, 1.0, 5.0, 30.0]),
    top_k=st.sampled_from([0, 1, 3, 40, 5000]),
    top_p=st.sampled_from([0.1, 0.5, 0.9, 0.999, 1.0]),
    min_p=st.sampled_from([0.0, 0.001, 0.05, 0.5, 1.0]),
)
def test_the_filters_keep_what_their_definitions_say(
    size: int, seed: int, spread: float, top_k: int, top_p: float, min_p: float
) -> None:
    logits = make_logits(size, seed, spread)
    weights = np.exp(logits - logits.max())
    found = [int(each) for each in keep_likeliest(weights, top_k, top_p, min_p)]
    expected = filter_plainly(weights, top_k, top_p, min_p)
    # A rounded sum may fall on either side of top_p.
    assert found == expected[: len(found)]
    assert abs(len(found) - len(expected)) <= (
        1 if top_p < 1 and spread > 0.1 else len(weights) / 50
    )


def test_shares_are_the_probabilities() -> None:
    logits = make_logits(6, 1, 1.0)
    expected = np.exp(log_softmax((logits / 0.7).astype(np.float32)))
    sampler = Sampler(SamplingOptions(temperature=0.7, seed=5))
    counts = Counter(sampler.choose(logits) for _ in range(20_000))
    for token, share in enumerate(expected):
        assert abs(counts[token] / 20_000 - share) < 0.015


def test_the_same_seed_gives_the_same_tokens() -> None:
    logits = [make_logits(50, seed) for seed in range(20)]

    def write(seed: int | None, index: int = 0) -> list[int]:
        sampler = Sampler(SamplingOptions(seed=seed), index=index)
        return [sampler.choose(each) for each in logits]

    assert write(3) == write(3)
    assert len({tuple(write(3)), tuple(write(4)), tuple(write(3, 1)), tuple(write(None))}) == 4


def test_temperature_zero_takes_the_likeliest() -> None:
    logits = make_logits(100, 2)
    for options in (SamplingOptions(temperature=0), SamplingOptions(top_k=1, temperature=5)):
        assert Sampler(options).choose(logits) == logits.argmax()


def test_penalties_and_biases_change_the_logits() -> None:
    logits = np.array([2.0, 1.5, -1.0, 0.0], np.float32)
    greedy: dict[str, Any] = {"temperature": 0.0}
    repeated = Sampler(SamplingOptions(**greedy, repetition_penalty=2.0), [0])
    assert [repeated.choose(logits) for _ in range(2)] == [1, 0]  # 2/2, 1.5; then both halved
    frequent = Sampler(SamplingOptions(**greedy, frequency_penalty=0.4), [0])
    assert [frequent.choose(logits) for _ in range(4)] == [0, 0, 1, 0]
    present = Sampler(SamplingOptions(**greedy, presence_penalty=1.0), [0])
    assert [present.choose(logits) for _ in range(3)] == [0, 1, 0]
    assert Sampler(SamplingOptions(**greedy, logit_bias={3: 100.0, 0: -100.0})).choose(logits) == 3
    assert Sampler(SamplingOptions(**greedy)).choose(logits, banned=[0, 1]) == 3
    assert logits.tolist() == [2.0, 1.5, -1.0, 0.0]


def test_a_banned_token_is_never_drawn() -> None:
    sampler = Sampler(SamplingOptions(seed=1, temperature=3))
    assert {sampler.choose(np.zeros(4, np.float32), [1, 2]) for _ in range(200)} == {0, 3}


def pad(weights: np.ndarray) -> np.ndarray:
    return np.pad(weights, (0, -len(weights) % BLOCK)).astype(np.float32)


def test_the_last_token_can_be_drawn_and_none_without_weight() -> None:
    points = np.array([0.0, 0.4999, 0.5, 1 - 2**-53])
    weights = np.stack([pad(np.array([0.5, 0.0, 0.5, 0.0]))] * 4)
    assert draw_rows(weights, points).tolist() == [0, 0, 2, 2]
    weights = np.zeros((1, 3 * BLOCK), np.float32)
    weights[0, BLOCK + 5] = 1e-30
    assert draw_rows(weights, points[-1:]).tolist() == [BLOCK + 5]


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 5000), st.integers(0, 99), st.floats(0, 1, exclude_max=True))
def test_tokens_are_drawn_by_their_share(size: int, seed: int, point: float) -> None:
    weights = np.exp(make_logits(size, seed)).astype(np.float32)
    sums = np.cumsum(weights, dtype=np.float64)
    (found,) = draw_rows(pad(weights)[None], np.array([point]))
    before = sums[found - 1] if found else 0.0
    slack = 1e-6 * sums[-1]
    assert before - slack <= point * sums[-1] <= sums[found] + slack


@settings(max_examples=50, deadline=None)
@given(st.integers(3, 3000), st.integers(1, 40), st.integers(0, 99))
def test_other_rows_change_no_token(size: int, count: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    kinds: list[dict[str, Any]] = [{}, {"temperature": 0}, {"top_p": 0.8}, {"top_k": 3}]

    def make() -> list[Sampler]:
        return [
            Sampler(SamplingOptions(**{"temperature": 0.9, "seed": row} | kinds[row * seed % 4]))
            for row in range(count)
        ]

    logits = [make_logits(size, seed + row, 6.0) for row in range(count)]
    banned = [chance.integers(0, size, row % 3) for row in range(count)]
    together = choose_tokens(make(), logits, banned)
    alone = map(Sampler.choose, make(), logits, banned)
    assert together == [*alone]


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"top_p": 1.1},
        {"min_p": -1},
        {"top_k": -1},
        {"repetition_penalty": 0},
    ],
)
def test_values_out_of_range_are_rejected(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        SamplingOptions(**wrong)  # type: ignore[arg-type]
