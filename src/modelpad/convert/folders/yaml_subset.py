"""Reads the part of YAML that MLflow writes: nested mappings, lists and scalars.

    flavors:
      onnx: {}               mappings and lists by indentation; {} and [] only when empty
      names: ['a', "b", c]   is not in this subset; lists have an item a line: - a

Anchors, tags, block scalars and flow collections raise `ValueError`: none of them is in an
`MLmodel`, and a parser without them cannot be made to build objects or to expand without bound.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from modelpad.foreign_json import Json

MAX_DEPTH = 32
KEY = re.compile(
    r"""(?P<key>"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s'"\[\]{}#&*!|>%@`,?:-][^:#]*):(?:\s+|$)"""
)
NUMBER = re.compile(r"[-+]?\d{1,18}")
REAL = re.compile(r"[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?")
WORDS: dict[str, Json] = {"": None, "~": None, "null": None, "true": True, "false": False}
ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.DOTALL)
ESCAPES = {
    "0": "\0", "a": "\a", "b": "\b", "t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r",
    "e": "\x1b", "N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029",
}  # fmt: skip


@dataclass(slots=True)
class _Line:
    number: int
    indent: int
    text: str


def parse_yaml(text: str) -> Json:
    """The value in `text`. Raises `ValueError` with the line of what is not in the subset."""
    lines = [
        _Line(number, len(line) - len(line.lstrip(" ")), line.strip())
        for number, line in enumerate(text.splitlines(), 1)
    ]
    reader = _Reader(lines)
    value = reader.block(0, 0)
    left = reader.peek()
    if left is not None:
        raise _error(left, "its indentation fits no line above")
    return value


class _Reader:
    def __init__(self, lines: list[_Line]) -> None:
        self._lines = lines
        self._at = 0

    def peek(self) -> _Line | None:
        """The next line that is neither empty nor a comment."""
        while self._at < len(self._lines):
            line = self._lines[self._at]
            if line.text and not line.text.startswith("#") and line.text != "---":
                return line
            self._at += 1
        return None

    def block(self, indent: int, depth: int) -> Json:
        """The mapping, list or scalar that begins on the next line, at `indent` or deeper."""
        line = self.peek()
        if line is None or line.indent < indent:
            return None
        if depth > MAX_DEPTH:
            raise _error(line, f"nested more than {MAX_DEPTH} deep")
        if line.text == "-" or line.text.startswith("- "):
            return self._list(line.indent, depth)
        if KEY.match(line.text):
            return self._mapping(line.indent, depth)
        self._at += 1
        return self._scalar(line, line.text, indent - 1)

    def _mapping(self, indent: int, depth: int) -> dict[str, Json]:
        mapping: dict[str, Json] = {}
        while (line := self.peek()) is not None and line.indent == indent:
            found = KEY.match(line.text)
            if found is None:
                break
            key = _read_key(found["key"])
            if key in mapping:
                raise _error(line, f"{key!r} is given twice")
            self._at += 1
            mapping[key] = self._value(line, line.text[found.end() :], indent, depth)
        return mapping

    def _list(self, indent: int, depth: int) -> list[Json]:
        items: list[Json] = []
        while (line := self.peek()) is not None and line.indent == indent:
            if line.text != "-" and not line.text.startswith("- "):
                break
            rest = line.text[1:].lstrip()
            inner = indent + len(line.text) - len(rest)
            if KEY.match(rest) or rest.startswith("- "):  # a mapping that begins after the dash
                self._lines[self._at] = _Line(line.number, inner, rest)
                items.append(self.block(inner, depth + 1))
                continue
            self._at += 1
            items.append(self._value(line, rest, indent, depth))
        return items

    def _value(self, line: _Line, rest: str, indent: int, depth: int) -> Json:
        """What follows a key or a dash: on the line, or on deeper lines."""
        if rest and not rest.startswith("#"):
            return self._scalar(line, rest, indent)
        following = self.peek()
        is_list = following is not None and following.text.startswith("-")
        if following is not None and following.indent == indent and is_list and line.text[0] != "-":
            return self._list(indent, depth + 1)  # lists may be as deep as their key
        return self.block(indent + 1, depth + 1)

    def _scalar(self, line: _Line, text: str, indent: int) -> Json:
        if text[0] in "'\"":
            return self._quoted(line, text)
        if text == "{}":
            return {}
        if text == "[]":
            return []
        if text[0] in "&*!|>%@`[{?":
            raise _error(line, f"{text[:20]!r} is YAML that MLflow does not write")
        parts = [text]
        while self._at < len(self._lines):  # a text may go on, deeper
            following = self._lines[self._at]
            if not following.text or following.indent <= indent or following.text[0] == "#":
                break
            parts.append(following.text)
            self._at += 1
        return _plain(" ".join(parts).partition(" #")[0].rstrip())

    def _quoted(self, line: _Line, text: str) -> str:
        quote, parts = text[0], [text]
        quotes = _count(quote, text)
        while quotes % 2:
            if self._at >= len(self._lines):
                raise _error(line, "a quote is not closed")
            parts.append(self._lines[self._at].text)
            quotes += _count(quote, parts[-1])
            self._at += 1
        text = _fold(parts)
        end = text.rindex(quote)
        if text[end + 1 :].strip() and not text[end + 1 :].lstrip().startswith("#"):
            raise _error(line, f"{text[end + 1 :][:20]!r} follows a quote")
        return _unquote(text[: end + 1])


def _count(quote: str, text: str) -> int:
    """How many quotes open or close a text; two single quotes in a row are one of its characters.

    That leaves the count even, so parity is enough.
    """
    return (text if quote == "'" else ESCAPE.sub("", text)).count(quote)


def _read_key(text: str) -> str:
    return _unquote(text) if text[0] in "'\"" else text.rstrip()


def _unquote(text: str) -> str:
    if text[0] == "'":
        return text[1:-1].replace("''", "'")
    return ESCAPE.sub(_unescape, text[1:-1])


def _unescape(found: re.Match[str]) -> str:
    code = found[1]
    if len(code) > 1:
        number = int(code[1:], 16)
        return chr(number) if number < 0x110000 else "\ufffd"
    return ESCAPES.get(code, code)


def _fold(parts: list[str]) -> str:
    """The lines of a quoted text: a line break is a space, an empty line a line break.

    In double quotes, a backslash at the end of a line joins it to the next.
    """
    folded = [parts[0]]
    blank = 0
    for part in parts[1:]:
        if not part:
            blank += 1
            continue
        if folded[-1].endswith("\\") and parts[0][0] == '"' and not blank:
            folded[-1] = folded[-1][:-1]
            folded.append(part)
        else:
            folded += ["\n" * blank or " ", part]
        blank = 0
    return "".join(folded)


def _plain(text: str) -> Json:
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    if NUMBER.fullmatch(text):
        return int(text)
    return float(text) if REAL.fullmatch(text) else text


def _error(line: _Line, reason: str) -> ValueError:
    return ValueError(f"line {line.number}: {reason}")
