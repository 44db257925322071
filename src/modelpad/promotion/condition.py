"""The condition of a promotion, such as `accuracy >= production - 0.002`.

    condition  = comparison { "and" comparison }
    comparison = METRIC ( ">=" | ">" | "<=" | "<" | "==" ) operand [ ( "+" | "-" ) NUMBER ]
    operand    = NUMBER | VERSION | METRIC "@" VERSION
    VERSION    = an alias; behind "@", also a number

`production` alone stands for the same metric of that version. Numbers are exact fractions: 0.994
is not less than 0.996 - 0.002.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from modelpad.errors import UsageError

# What a condition can compare.
METRICS = {
    "accuracy": "share of the held-out items that are right",
    "balanced_accuracy": "the same for each class, averaged",
    "correction_accuracy": "share of the held-out corrections that are right",
}
OPERATORS: Mapping[str, Callable[[Fraction, Fraction], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
EXAMPLE = 'For example: --if "accuracy >= production - 0.002"'
MAX_CHARS = 1000
TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.\d*|\.?\d+)|(?P<name>[A-Za-z]\w*(?:[.-][A-Za-z]\w*)*)"
    r"|(?P<operator>[<>=]=|[<>])|(?P<sign>[+-])|(?P<at>@)|(?P<other>\S))",
    re.ASCII,
)
# A metric of a version, which is None for the candidate, else a number or an alias.
Lookup = Callable[[str, "str | None"], Fraction]


class Token(NamedTuple):
    """A word of a condition; `start` counts from 1, `kind` "end" is behind the last one."""

    kind: str
    text: str
    start: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """A metric of the candidate, compared to `offset`, plus a metric of `version` if there is one.

    `text` is how it was written.
    """

    metric: str
    symbol: str
    version: str | None
    other_metric: str
    offset: Fraction
    text: str

    def evaluate(self, look_up: Lookup) -> tuple[Fraction, Fraction, bool]:
        """Both sides, and whether it holds."""
        left, right = look_up(self.metric, None), self.offset
        if self.version is not None:
            right += look_up(self.other_metric, self.version)
        return left, right, OPERATORS[self.symbol](left, right)

    @property
    def metrics(self) -> set[str]:
        """The metrics that it needs."""
        return {self.metric} | ({self.other_metric} if self.version is not None else set())


def parse_condition(text: str) -> tuple[Comparison, ...]:
    """The comparisons, all of which must hold. Raises `UsageError` with the position."""
    if len(text) > MAX_CHARS:
        raise UsageError(f"The condition has more than {MAX_CHARS:,} characters.", hint=EXAMPLE)
    parser = _Parser(text)
    comparisons = [parser.parse_comparison()]
    while parser.next.kind != "end":
        parser.expect_word("and")
        comparisons.append(parser.parse_comparison())
    return tuple(comparisons)


class _Parser:
    """Reads tokens from left to right, one ahead."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = split_tokens(text)
        self.next = next(self._tokens)
        self._end = 0  # of the last token taken

    def parse_comparison(self) -> Comparison:
        start = self.next.start
        metric = self._take("name", f"a metric ({', '.join(METRICS)})", METRICS)
        symbol = self._take("operator", "a comparison (>=, >, <=, < or ==)")
        version, other_metric, offset = self._parse_operand(metric)
        if self.next.kind == "sign":
            sign = -1 if self._take("sign", "a sign") == "-" else 1
            offset += sign * Fraction(self._take("number", "a number"))
        text = self._text[start - 1 : self._end]
        return Comparison(metric, symbol, version, other_metric, offset, text)

    def _parse_operand(self, metric: str) -> tuple[str | None, str, Fraction]:
        if self.next.kind == "number":
            return None, metric, Fraction(self._take("number", "a number"))
        word = self._take("name", "a number, an alias or METRIC@VERSION")
        if word not in METRICS:
            return word, metric, Fraction(0)
        self._take("at", f"@ and a version: which version's {word}")
        kind = "number" if self.next.kind == "number" else "name"
        return self._take(kind, "a version"), word, Fraction(0)

    def expect_word(self, word: str) -> None:
        self._take("name", f"{word!r}", (word,))

    def _take(self, kind: str, expected: str, known: object = None) -> str:
        token = self.next
        wrong = known is not None and token.text not in known  # type: ignore[operator]
        if token.kind != kind or wrong:
            got = f"not {token.text!r}" if token.text else "but it ends"
            raise UsageError(
                f"The condition, at character {token.start}: expected {expected}, {got}.",
                hint=EXAMPLE,
                position=token.start,
            )
        self._end = token.start - 1 + len(token.text)
        self.next = next(self._tokens)
        return token.text


def split_tokens(text: str) -> Iterator[Token]:
    """The words of a condition, and then its end for ever."""
    for found in TOKEN.finditer(text):
        kind = str(found.lastgroup)
        yield Token(kind, found[kind], found.start(kind) + 1)
    while True:
        yield Token("end", "", len(text) + 1)
