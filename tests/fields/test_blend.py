"""Blends: one name, or several with weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modelpad.errors import InvalidInput
from modelpad.fields.blend import Blend

STYLE = Blend("style", ("wave", "scream", "udnie"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("scream", [0, 1, 0]),
        (b" scream ", [0, 1, 0]),
        ("wave,udnie", [0.5, 0, 0.5]),
        ("wave:3, scream:1", [0.75, 0.25, 0]),
        ('{"wave": 3, "scream": 1}', [0.75, 0.25, 0]),
        ({"wave": 3, "scream": 1, "udnie": 0}, [0.75, 0.25, 0]),
        ({"udnie": 1e-300}, [0, 0, 1]),
    ],
)
def test_weights_sum_to_one(value: Any, expected: list[float]) -> None:
    weights = STYLE.decode(value)
    assert weights.dtype == np.float32
    assert np.allclose(weights, expected)
    assert sum(STYLE.encode(weights).values()) == pytest.approx(1)


@pytest.mark.parametrize(
    "value",
    [
        "", "monet", "wave:", "wave:x", "wave:-1", "wave:nan", "wave:inf", "wave:0", "{", "{}",
        '{"wave": "1e999"}', "[" * 5000, "wave," * 5000, {"wave": True}, {"wave": None}, {},
        {"wave": [1]}, ["wave"], 1, None, {"wave": 1e308, "scream": 1e308},
    ],
)  # fmt: skip
def test_anything_else_is_explained(value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        STYLE.decode(value)
    assert "wave, scream, udnie" in caught.value.hint
    assert caught.value.details["field"] == "style"


def test_the_first_choice_is_the_default() -> None:
    assert STYLE.default == "wave"
    assert STYLE.schema()["default"] == "wave"


@pytest.mark.parametrize("choices", [(), ("a", "a"), ("a:b",), ("",), ("a,b",), ("{a",)])
def test_ambiguous_choices_are_rejected(choices: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="choice"):
        Blend("style", choices)


def test_pictures_of_the_choices_are_optional() -> None:
    shown = Blend("style", ("wave", "scream"), ("samples/a.jpg", "samples/b.jpg"))
    assert Blend.from_dict(shown.to_dict()) == shown
    assert "pictures" not in STYLE.to_dict()  # bundles of before have none
    assert Blend.from_dict(STYLE.to_dict()) == STYLE
    with pytest.raises(ValueError, match="1 pictures for 2 choices"):
        Blend("style", ("wave", "scream"), ("samples/a.jpg",))
