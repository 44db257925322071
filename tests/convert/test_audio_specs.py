"""`--input audio:16000`: the rate must be given, and the input must be one channel."""

from __future__ import annotations

import pytest

from modelpad.convert.input_plan import plan_inputs
from modelpad.convert.plans import Evidence
from modelpad.convert.source import TensorSpec
from modelpad.convert.specs import parse_input
from modelpad.errors import UsageError
from modelpad.fields import Audio

SPEC = [parse_input("audio:16000")]
NOTHING = Evidence({})


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("audio", "how many samples a second"),
        ("audio:16000,scale=0..1", "Known options: batch"),
        ("audio:5", "From 1,000 to 384,000"),
    ],
)
def test_a_wrong_spec_is_explained(spec: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_input(spec)
    assert words in caught.value.words


def test_an_input_of_several_channels_is_not_sound() -> None:
    planned = plan_inputs("onnx", [TensorSpec("x", "float32", (None, 16_000, 1))], SPEC, NOTHING)
    assert planned[0].field == Audio("audio", 16_000, 16_000)
    with pytest.raises(UsageError, match="not one channel of sound"):
        plan_inputs("onnx", [TensorSpec("x", "float32", (None, 16_000, 2))], SPEC, NOTHING)
