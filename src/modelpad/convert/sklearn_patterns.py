"""Regular expressions and Unicode tables of text vectorizers, as ONNX Runtime needs them.

ONNX Runtime matches with RE2, whose character classes, boundaries and choice among alternatives
differ from those of Python. Classes are therefore spelled out as ranges of code points, and a
pattern is translated only if both are certain to find the same tokens.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from modelpad.errors import ConversionFailed

# Python's own parser of regular expressions.
PARSER: Any = re._parser  # type: ignore[attr-defined]
SURROGATES = range(0xD800, 0xE000)
MAX_REPEATS = 1000  # of RE2

Class = frozenset[int]
"""Code points."""


@dataclass(frozen=True, slots=True)
class TokenPattern:
    """How to find tokens: what matches of `find`, an RE2 pattern, match `keep` as a whole.

    `keep` is empty if all do. `characters` are the code points that a token may contain.
    """

    find: str
    keep: str
    characters: Class


@dataclass(frozen=True, slots=True)
class Chars:
    """One character of a class."""

    members: Class


@dataclass(frozen=True, slots=True)
class Repeat:
    """A part, from `low` to `high` times; without an upper limit if `high` is None."""

    part: Part
    low: int
    high: int | None


@dataclass(frozen=True, slots=True)
class Sequence:
    """Parts that follow each other."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several parts."""

    parts: tuple[Part, ...]


Part = Chars | Repeat | Sequence | Choice


@dataclass(slots=True)
class Positions:
    """The characters that can begin and end a part, and whether it may be empty (Glushkov)."""

    first: list[int]
    last: list[int]
    nullable: bool


def translate(pattern: str) -> TokenPattern:
    """A vectorizer's `token_pattern` for RE2.

    Raises `ConversionFailed` if RE2 might find other tokens.
    """
    tree = PARSER.parse(pattern)
    if tree.state.flags & (re.IGNORECASE | re.ASCII | re.MULTILINE | re.VERBOSE | re.LOCALE):
        raise refusal(pattern, "it sets flags")
    items = list(tree)
    boundary = (PARSER.AT, PARSER.AT_BOUNDARY)
    start, end = items[:1] == [boundary], items[-1:] == [boundary]
    items = items[1:] if start else items
    part = _read(items[:-1] if end else items, pattern, bool(tree.state.flags & re.DOTALL))
    reader = Automaton()
    ends = reader.add(part)
    if ends.nullable:
        raise refusal(pattern, "it matches an empty text")
    members: Class = frozenset().union(*reader.classes)
    word = word_characters()
    if start and end and members <= word:
        find, keep = write(Repeat(Chars(word), 1, None)), write(part)
        least = _word_run(part)
        if least:
            find, keep = write(Repeat(Chars(word), least, None)), ""
        return TokenPattern(find, keep, members)
    if not reader.is_word_run(
        [*(ends.first if start else ()), *(ends.last if start or end else ())]
    ):
        raise refusal(pattern, r"\b is where a token may begin or end within a word")
    if not reader.is_deterministic():
        raise refusal(pattern, "it can match the same text in several ways")
    return TokenPattern(write(part), "", members)


def refusal(pattern: str, reason: str) -> ConversionFailed:
    """The error for a pattern that cannot be translated."""
    return ConversionFailed(
        f"The token_pattern {pattern!r} has no exact counterpart in ONNX Runtime: {reason}.",
        hint=r"A pattern such as \b\w\w+\b or [a-z]+ does.",
    )


class Automaton:
    """The positions of a pattern's characters, and which of them can follow which."""

    def __init__(self) -> None:
        self.classes: list[Class] = []
        self.follow: list[set[int]] = []
        self.first: list[int] = []
        self.bounded: set[int] = set()
        self.is_ordered = True

    def add(self, part: Part) -> Positions:
        """Adds a part after nothing."""
        ends = self._add(part)
        self.first = ends.first
        return ends

    def is_deterministic(self) -> bool:
        """Whether no text leads to two positions at once, so that greedy is also longest."""
        return self.is_ordered and all(
            self._are_disjoint(sorted(positions)) for positions in (*self.follow, self.first)
        )

    def is_word_run(self, positions: list[int]) -> bool:
        """Whether each of these positions takes any word character, and any number of them."""
        word = word_characters()
        return all(
            self.classes[at] == word and at in self.follow[at] and at not in self.bounded
            for at in positions
        )

    def _are_disjoint(self, positions: list[int]) -> bool:
        seen: set[int] = set()
        for at in positions:
            if not seen.isdisjoint(self.classes[at]):
                return False
            seen |= self.classes[at]
        return True

    def _add(self, part: Part) -> Positions:
        if isinstance(part, Chars):
            self.classes.append(part.members)
            self.follow.append(set())
            at = len(self.classes) - 1
            return Positions([at], [at], False)
        if isinstance(part, Repeat):
            begin = len(self.classes)
            inner = self._add(part.part)
            if part.high is not None and isinstance(part.part, Chars):
                self.bounded.update(range(begin, len(self.classes)))
            if part.high is None or part.high > 1:
                self._connect(inner.last, inner.first)
            return Positions(inner.first, inner.last, inner.nullable or part.low == 0)
        parts = [self._add(one) for one in part.parts]
        if isinstance(part, Choice):
            self.is_ordered &= not any(one.nullable for one in parts)
            return Positions(
                [at for one in parts for at in one.first],
                [at for one in parts for at in one.last],
                any(one.nullable for one in parts),
            )
        whole = Positions([], [], True)
        for one in parts:
            self._connect(whole.last, one.first)
            whole.first = whole.first + one.first if whole.nullable else whole.first
            whole.last = whole.last + one.last if one.nullable else one.last
            whole.nullable = whole.nullable and one.nullable
        return whole

    def _connect(self, ends: list[int], starts: list[int]) -> None:
        for end in ends:
            self.follow[end].update(starts)


def _word_run(part: Part) -> int:
    """The least length if a part is any run of word characters, such as `\\w\\w+`; else 0."""
    items = part.parts if isinstance(part, Sequence) else (part,)
    least, endless = 0, False
    for item in items:
        low, high, inner = 1, 1, item
        if isinstance(item, Repeat):
            low, high, inner = item.low, item.high or 0, item.part
        if not isinstance(inner, Chars) or inner.members != word_characters():
            return 0
        if high not in (0, low):
            return 0
        least, endless = least + low, endless or high == 0
    return least if endless else 0


def _read(items: Iterable[tuple[Any, Any]], pattern: str, dot_all: bool) -> Part:
    return _merge([_read_item(item, pattern, dot_all) for item in items])


def _merge(parts: list[Part]) -> Part:
    """`\\w\\w+` as `\\w{2,}`, which can be matched in one way only."""
    merged: list[Part] = []
    for part in parts:
        low, high, inner = _counts(part)
        if merged and isinstance(inner, Chars):
            before = _counts(merged[-1])
            if before[2] == inner:
                top = None if high is None or before[1] is None else high + before[1]
                merged[-1] = Repeat(inner, low + before[0], top)
                continue
        merged.append(part)
    return merged[0] if len(merged) == 1 else Sequence(tuple(merged))


def _counts(part: Part) -> tuple[int, int | None, Part]:
    return (part.low, part.high, part.part) if isinstance(part, Repeat) else (1, 1, part)


def _read_item(item: tuple[Any, Any], pattern: str, dot_all: bool) -> Part:
    kind, value = item
    if kind is PARSER.SUBPATTERN:
        group, added, removed, inside = value
        if group is not None or added or removed:
            raise refusal(pattern, "it captures a group" if group is not None else "it sets flags")
        return _read(inside, pattern, dot_all)
    if kind is PARSER.MAX_REPEAT:
        low, high, inside = value
        if max(low, 0 if high is PARSER.MAXREPEAT else high) > MAX_REPEATS:
            raise refusal(pattern, f"it repeats more than {MAX_REPEATS} times")
        top = None if high is PARSER.MAXREPEAT else int(high)
        return Repeat(_read(inside, pattern, dot_all), int(low), top)
    if kind is PARSER.BRANCH:
        return Choice(tuple(_read(one, pattern, dot_all) for one in value[1]))
    if kind is PARSER.ANY:
        return Chars(everything() if dot_all else everything() - {ord("\n")})
    if kind in (PARSER.LITERAL, PARSER.NOT_LITERAL, PARSER.IN):
        return Chars(_read_class(kind, value, pattern))
    raise refusal(pattern, f"it contains {str(kind).lower()}")


def _read_class(kind: Any, value: Any, pattern: str) -> Class:
    if kind is PARSER.LITERAL:
        return frozenset({value})
    if kind is PARSER.NOT_LITERAL:
        return everything() - {value}
    members: set[int] = set()
    negated = False
    for inner, given in value:
        if inner is PARSER.NEGATE:
            negated = True
        elif inner is PARSER.LITERAL:
            members.add(given)
        elif inner is PARSER.RANGE:
            members |= set(range(given[0], given[1] + 1))
        elif inner is PARSER.CATEGORY:
            members |= _category(str(given), pattern)
        else:
            raise refusal(pattern, f"it contains {str(inner).lower()}")
    return everything() - members if negated else frozenset(members) & everything()


def _category(name: str, pattern: str) -> Class:
    sets: dict[str, Callable[[], Class]] = {
        "WORD": word_characters,
        "SPACE": white_space,
        "DIGIT": digits,
    }
    kind = name.removeprefix("CATEGORY_")
    found = sets.get(kind.removeprefix("NOT_"))
    if found is None:
        raise refusal(pattern, f"it contains {name.lower()}")
    return everything() - found() if kind.startswith("NOT_") else found()


def write(part: Part) -> str:
    """A part in RE2's syntax."""
    if isinstance(part, Chars):
        return write_class(part.members)
    if isinstance(part, Repeat):
        inner = write(part.part)
        grouped = inner if isinstance(part.part, Chars) else f"(?:{inner})"
        return f"{grouped}{{{part.low},{'' if part.high is None else part.high}}}"
    if isinstance(part, Choice):
        return f"(?:{'|'.join(write(one) for one in part.parts)})"
    return "".join(write(one) for one in part.parts)


@cache
def write_class(members: Class) -> str:
    """A class as ranges of code points."""
    ranges: list[list[int]] = []
    for point in sorted(members):
        if ranges and ranges[-1][1] == point - 1:
            ranges[-1][1] = point
        else:
            ranges.append([point, point])
    return "[" + "".join(rf"\x{{{low:x}}}-\x{{{high:x}}}" for low, high in ranges) + "]"


@cache
def everything() -> Class:
    """All characters."""
    return frozenset(range(sys.maxunicode + 1)) - frozenset(SURROGATES)


@cache
def word_characters() -> Class:
    r"""What `\w` matches in Python."""
    return frozenset(at for at in everything() if chr(at).isalnum()) | {ord("_")}


@cache
def white_space() -> Class:
    r"""What `\s` matches in Python, which is also where `str.split` splits."""
    return frozenset(at for at in everything() if chr(at).isspace())


@cache
def digits() -> Class:
    r"""What `\d` matches in Python."""
    return frozenset(at for at in everything() if chr(at).isdecimal())
