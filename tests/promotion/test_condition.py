"""Conditions: what they mean, and where they are wrong."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpad.errors import UsageError
from modelpad.promotion.condition import parse_condition

FOUND = {
    ("accuracy", None): Fraction(994, 1000),
    ("accuracy", "production"): Fraction(996, 1000),
    ("accuracy", "3"): Fraction(1, 2),
    ("balanced_accuracy", None): Fraction(9, 10),
    ("correction_accuracy", None): Fraction(1),
    ("correction_accuracy", "release-candidate"): Fraction(1, 4),
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("accuracy >= production - 0.002", True),  # exactly, which floats would not say
        ("accuracy>=production-0.0019", False),
        ("accuracy > 0.99", True),
        ("accuracy < .99", False),
        ("accuracy == 0.994", True),
        ("accuracy >= accuracy@3 + 0.4 and balanced_accuracy >= 0.9", True),
        ("accuracy >= 0.9 and balanced_accuracy > 0.9", False),
        ("correction_accuracy > release-candidate", True),
        ("balanced_accuracy <= accuracy@production", True),
    ],
)
def test_conditions_hold_or_not(text: str, holds: bool) -> None:
    results = [each.evaluate(lambda *key: FOUND[key]) for each in parse_condition(text)]
    assert all(one for *_, one in results) == holds


def test_a_comparison_keeps_its_text() -> None:
    first, second = parse_condition(" accuracy >= production - 0.002  and  accuracy > 0.5 ")
    assert first.text == "accuracy >= production - 0.002"
    assert second.text == "accuracy > 0.5"


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("", 1, "a metric"),
        ("speed > 1", 1, "balanced_accuracy"),
        ("accuracy", 9, "it ends"),
        ("accuracy = 1", 10, "a comparison"),
        ("accuracy >= ", 13, "it ends"),
        ("accuracy >= accuracy", 21, "which version"),
        ("accuracy >= accuracy@", 22, "a version"),
        ("accuracy >= production - x", 26, "a number"),
        ("accuracy >= 0.9 or accuracy > 1", 17, "'and'"),
        ("accuracy >= 0.9 and", 20, "a metric"),
        ("accuracy >= __import__('os')", 13, "a number, an alias"),
        ("accuracy >= 1e-3", 14, "'and'"),
    ],
)
def test_an_error_says_where(text: str, position: int, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_condition(text)
    assert caught.value.details["position"] == position
    assert f"at character {position}" in caught.value.message
    assert words in caught.value.message


@given(st.text(alphabet="acurcy>=@+-. 019andproduction_é\x00", max_size=60))
def test_any_other_text_is_a_usage_error(text: str) -> None:
    with suppress(UsageError):
        assert parse_condition(text)
