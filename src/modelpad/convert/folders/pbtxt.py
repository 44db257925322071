"""Parses protobuf's text format, as in `config.pbtxt` and `models.config`, without a schema.

    input [ { name: "x" dims: [ 4, -1 ] } ]  →  {"input": [{"name": ["x"], "dims": [4, -1]}]}

Every field is a list, as the text does not say which ones repeat.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

Value: TypeAlias = "str | int | float | Message"
Message: TypeAlias = dict[str, "list[Value]"]

MAX_DEPTH = 32
MAX_VALUES = 100_000
TOKEN = re.compile(
    r"""[\s,;]*(?:\#[^\n]*[\s,;]*)*
    (?: (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<word>[A-Za-z_][\w.]*)
      | (?P<number>-?\s*[\d.][\w.+-]*)
      | (?P<mark>[{}<>\[\]:]) )?""",
    re.VERBOSE | re.ASCII,
)
ESCAPE = re.compile(r"\\([0-7]{1,3}|x[0-9A-Fa-f]{1,2}|.)", re.DOTALL)
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
CLOSING = {"{": "}", "<": ">"}


def parse_pbtxt(text: str) -> Message:
    """The message in `text`. Raises `ValueError` with the line of a mistake."""
    return _Parser(text).parse()


def texts_at(message: Message, key: str) -> list[str]:
    """The strings or enumeration values of a field."""
    return [value for value in message.get(key, []) if isinstance(value, str)]


def text_at(message: Message, key: str, default: str = "") -> str:
    """The last string or enumeration value of a field."""
    return (texts_at(message, key) or [default])[-1]


def integers_at(message: Message, key: str) -> list[int]:
    """The integers of a field."""
    return [value for value in message.get(key, []) if isinstance(value, int)]


def messages_at(message: Message, key: str) -> list[Message]:
    """The messages of a field."""
    return [value for value in message.get(key, []) if isinstance(value, dict)]


def message_at(message: Message, key: str) -> Message:
    """The last message of a field, else an empty one."""
    return (messages_at(message, key) or [{}])[-1]


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._values = 0
        self._tokens = self._split()
        self._kind, self._token = next(self._tokens)

    def parse(self) -> Message:
        return self._message("", 0)

    def _split(self) -> Iterator[tuple[str, str]]:
        place = 0
        while True:
            found = TOKEN.match(self._text, place)
            assert found is not None  # it matches the empty text
            place = self._at = found.end()
            if found.lastgroup is None:
                if place < len(self._text):
                    raise self._error(f"{self._text[place : place + 10]!r} is not expected")
                yield "end", ""
                return
            yield found.lastgroup, found[found.lastgroup]

    def _next(self) -> tuple[str, str]:
        taken = self._kind, self._token
        if taken[0] != "end":
            self._kind, self._token = next(self._tokens)
        return taken

    def _message(self, closing: str, depth: int) -> Message:
        if depth > MAX_DEPTH:
            raise self._error(f"messages are nested more than {MAX_DEPTH} deep")
        message: Message = {}
        while self._token != closing:
            kind, name = self._next()
            if kind != "word":
                raise self._error(f"{name or 'the end'!r} is not the name of a field")
            message.setdefault(name, []).extend(self._field(depth))
        self._next()
        return message

    def _field(self, depth: int) -> list[Value]:
        if (self._kind, self._token) == ("mark", ":"):
            self._next()
        elif self._token not in ("{", "<", "["):
            raise self._error("a colon is missing")
        if self._token != "[":
            return [self._value(depth)]
        self._next()
        values = []
        while self._token != "]":
            values.append(self._value(depth))
        self._next()
        return values

    def _value(self, depth: int) -> Value:
        self._values += 1
        if self._values > MAX_VALUES:
            raise self._error(f"there are more than {MAX_VALUES:,} values")
        kind, token = self._next()
        if kind == "mark" and token in CLOSING:
            return self._message(CLOSING[token], depth + 1)
        if kind == "text":
            parts = [token]
            while self._kind == "text":
                parts.append(self._next()[1])
            return "".join(_unescape(part[1:-1]) for part in parts)
        if kind == "word":
            return token
        if kind == "number":
            return self._number(re.sub(r"\s", "", token))
        raise self._error(f"{token or 'the end'!r} is not a value")

    def _number(self, token: str) -> int | float:
        try:
            if re.fullmatch(r"-?\d{1,20}", token):
                return int(token)
            return int(token, 16) if "x" in token.lower() else float(token.rstrip("fF"))
        except ValueError:
            raise self._error(f"{token[:20]!r} is not a number") from None

    def _error(self, reason: str) -> ValueError:
        return ValueError(f"line {self._text.count(chr(10), 0, self._at) + 1}: {reason}")


def _unescape(text: str) -> str:
    """The characters of a string literal. Octal and hexadecimal escapes are UTF-8 bytes."""
    if "\\" not in text:
        return text

    def decode(found: re.Match[str]) -> str:
        code = found[1]
        if code[0] in "01234567":
            return chr(int(code, 8) & 0xFF)
        if code[0] == "x" and len(code) > 1:
            return chr(int(code[1:], 16))
        return ESCAPES.get(code, code)

    latin = ESCAPE.sub(decode, text.encode("utf-8").decode("latin-1"))
    return latin.encode("latin-1").decode("utf-8", "replace")
