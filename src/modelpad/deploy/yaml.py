"""Writes YAML, in the block style that people edit.

Only what manifests need: dicts, lists, strings, numbers, booleans and None. Strings that any YAML
reader could take for something else are quoted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

Yaml = Mapping[str, "Yaml"] | list["Yaml"] | str | int | float | bool | None

PLAIN = re.compile(r"[A-Za-z/._][A-Za-z0-9 /._@-]*(:[A-Za-z0-9/._@-]+)*")
KEYWORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})
NUMBER = re.compile(r"[.]?[0-9_.]+.*")


def write_yaml(*documents: Yaml, comment: str = "") -> bytes:
    """Documents as UTF-8, separated by `---`, below a comment."""
    head = "".join(f"# {line}".rstrip() + "\n" for line in comment.splitlines())
    texts = ("".join(f"{line}\n" for line in _write(document, 0)) for document in documents)
    return (head + "---\n".join(texts)).encode("utf-8")


def _write(value: Yaml, indent: int) -> Iterator[str]:
    space = " " * indent
    if isinstance(value, Mapping) and value:
        for key, child in value.items():
            yield from _write_entry(f"{space}{_write_text(key)}:", child, indent)
    elif isinstance(value, list) and value:
        for child in value:
            lines = list(_write(child, indent + 2))
            yield f"{space}- {lines[0].lstrip()}"
            yield from lines[1:]
    else:
        yield space + _write_scalar(value)


def _write_entry(head: str, value: Yaml, indent: int) -> Iterator[str]:
    if isinstance(value, Mapping | list) and value:
        yield head
        yield from _write(value, indent + 2)
    elif isinstance(value, str) and _is_block(value):
        yield f"{head} |"
        yield from (f"{' ' * (indent + 2)}{line}".rstrip() for line in value.splitlines())
    else:
        yield f"{head} {_write_scalar(value)}"


def _is_block(text: str) -> bool:
    """Whether a text is a literal block: several plain lines, ended by exactly one newline."""
    lines = text.split("\n")
    printable = all(line.isprintable() and line == line.rstrip() for line in lines)
    return len(lines) > 2 and not lines[-1] and bool(lines[-2]) and printable and lines[0][:1] > " "


def _write_scalar(value: Yaml) -> str:
    return _write_text(value) if isinstance(value, str) else json.dumps(value)


def _write_text(text: str) -> str:
    plain = PLAIN.fullmatch(text) and not text.endswith(" ") and not NUMBER.fullmatch(text)
    if plain and text.lower().strip("._") not in KEYWORDS and text.strip(".-_/ "):
        return text
    return "".join(map(_escape, json.dumps(text, ensure_ascii=False)))


def _escape(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\U{code:08x}" if code > 0xFFFF else f"\\u{code:04x}"
