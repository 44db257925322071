"""The policy of steps: fairness between long and short texts, as a pure function."""

from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelpad.engine.text.scheduling import WRITING_EVERY, Progress, StepLimits, plan_step

LIMITS = StepLimits(piece=32, tokens=64, batches=2)


class Written(Progress):
    """A text that has written a token, and knows the next one."""

    written = 1


def advance(texts: list[Progress], turn: int, limits: StepLimits = LIMITS) -> None:
    for place, count in chain(*plan_step(texts, turn, limits)):
        texts[place].read += count
        texts[place].unread -= count


def test_every_text_that_is_written_advances() -> None:
    texts = [Progress(1), Progress(500), Progress(1), Progress(0)]
    assert plan_step(texts, 0, LIMITS) == [[(0, 1), (2, 1)], [(1, 32)]]


def test_a_prompt_is_read_in_equal_pieces() -> None:
    prompt = Progress(33)
    pieces: list[int] = []
    while prompt.unread > 1:
        before = prompt.read
        advance([prompt], len(pieces))
        pieces.append(prompt.read - before)
    assert pieces == [17, 16]


@pytest.mark.parametrize(("waiting", "every"), [(2, 1), (3, WRITING_EVERY)])
def test_texts_are_written_now_and_then_while_many_prompts_wait(waiting: int, every: int) -> None:
    texts = [Written(1), *(Progress(10_000) for _ in range(waiting)), Progress(1)]
    steps = [plan_step(texts, turn, LIMITS)[0] for turn in range(20)]
    assert [turn for turn, step in enumerate(steps) if (0, 1) in step] == [*range(0, 20, every)]
    assert all((len(texts) - 1, 1) in step for step in steps)  # which waits for its first token


def test_a_short_request_does_not_wait_for_a_long_prompt() -> None:
    texts = [Progress(100_000, arrived=0.0), Progress(1, read=9)]
    for turn in range(100):
        advance(texts, turn)
        texts[1].unread = 1
    texts.append(Progress(30, arrived=1.0))
    advance(texts, 100)
    assert texts[2].unread == 0


def test_a_long_prompt_advances_however_many_short_ones_arrive() -> None:
    long = Progress(1000, arrived=0.0)
    turns = 0
    while long.unread > 1:
        short = [Progress(64, arrived=turns + 1.0) for _ in range(20)]
        advance([*short, long], turns)
        turns += 1
    assert turns <= 2 * 1000 / LIMITS.piece + 2


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300), st.floats(0, 10)), max_size=40),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_a_step_stays_within_its_limits(
    texts: list[tuple[int, int, float]], written: int, turn: int
) -> None:
    queue = [Progress(*each) for each in texts] + [Written(1)] * written
    batches = plan_step(queue, turn, LIMITS)
    waiting = sum(text.unread > 1 for text in queue)
    single = [
        (at, 1)
        for at, text in enumerate(queue)
        if text.unread == 1 and not (text.written and waiting > LIMITS.batches and turn)
    ]
    if single:
        assert batches.pop(0) == single
    pieces = [*chain(*batches)]
    assert len({place for place, _ in pieces}) == len(pieces)
    assert all(2 <= count <= min(LIMITS.piece, queue[at].unread) for at, count in pieces)
    assert len(batches) == min(waiting, LIMITS.batches)
    for batch in batches:
        width = max(count for _, count in batch)
        assert len(batch) == 1 or width * len(batch) <= LIMITS.tokens


def test_limits_are_checked() -> None:
    for wrong in ((1, 4, 2), (8, 4, 2), (8, 16, 0)):
        with pytest.raises(ValueError):
            StepLimits(*wrong)
