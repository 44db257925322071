"""Numbers on the command line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modelpad.cli.numbers import not_negative, port, positive
from modelpad.errors import UsageError


@pytest.mark.parametrize(
    ("number", "text", "value"),
    [
        (positive("--timeout", float), "0.5", 0.5),
        (positive("--max-queue", int), "1", 1),
        (not_negative("--workers", int), "0", 0),
        (port("--port"), "0", 0),
        (port("--port"), "65535", 65535),
    ],
)
def test_numbers_are_read(number: Callable[[str], float], text: str, value: float) -> None:
    assert number(text) == value


@pytest.mark.parametrize(
    ("number", "text", "message"),
    [
        (positive("--timeout", float), "0", "--timeout is 0."),
        (positive("--timeout", float), "nan", "--timeout is nan."),
        (positive("--timeout", float), "inf", "--timeout is inf."),
        (positive("--max-queue", int), "1.5", "--max-queue is '1.5'."),
        (not_negative("--workers", int), "-1", "--workers is -1."),
        (not_negative("--workers", int), "two", "--workers is 'two'."),
        (port("--port"), "65536", "--port is 65536."),
    ],
)
def test_other_values_say_what_to_give(
    number: Callable[[str], float], text: str, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        number(text)
    assert caught.value.message == message
    assert caught.value.hint.startswith("Give ")
