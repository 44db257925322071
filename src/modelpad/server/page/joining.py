"""Joins the page's modules into one, and its style sheets, when they are first requested.

Browsers open six connections to a server, so thirty small files cost five round trips instead of
one. The modules stay what a person reads and edits; they are written so that joining needs no
parser: an import is one line at the top, of names that the other module declares with `export`,
and no two modules import each other. What few models need is a part of its own, loaded by
`import("./NAME.js")`; it has NAME and what that needs beyond the page, whose modules it shares.
"""

from __future__ import annotations

import re
from pathlib import Path

IMPORT = re.compile(r'^import (?:(\{ [\w, ]+ \}) from )?"\./([\w-]+)\.js";\n', re.MULTILINE)
EXPORT = re.compile(r"^export ((?:const|let|class|(?:async )?function\*?) ?(\w+))", re.MULTILINE)
PART = re.compile(r'\bimport\("\./([\w-]+)\.js"\)')


def list_modules(folder: Path, start: str) -> list[str]:
    """The names of `start` and all modules that it needs, each after those that it imports."""
    found: list[str] = []

    def visit(name: str) -> None:
        for match in IMPORT.finditer(_read(folder, name)):
            if match[2] not in found:
                visit(match[2])
        if name not in found:
            found.append(name)

    visit(start)
    return found


def join_modules(folder: Path, start: str) -> bytes:
    """One module that does what `start` does; each module keeps a scope of its own.

    The scopes are exported, for the parts that are loaded later.
    """
    names = list_modules(folder, start)
    return "\n".join([*_scopes(folder, names), _export(names)]).encode("utf-8")


def join_part(folder: Path, name: str, start: str, page: str) -> bytes:
    """The module `name` and what it needs beyond `start`, whose modules are joined in `page`."""
    shared, needed = list_modules(folder, start), list_modules(folder, name)
    own = [each for each in needed if each not in shared]
    common = ", ".join(_variable(each) for each in needed if each in shared)
    first = f'import {{ {common} }} from "./{page}";'
    last = f"export const {{ {_list_exports(_read(folder, name))} }} = {_variable(name)};"
    return "\n".join([first, *_scopes(folder, own), last]).encode("utf-8")


def join_styles(folder: Path, names: tuple[str, ...]) -> bytes:
    """One style sheet, in this order."""
    return b"\n".join((folder / name).read_bytes() for name in names)


def _read(folder: Path, name: str) -> str:
    return (folder / f"{name}.js").read_text("utf-8")


def _scopes(folder: Path, names: list[str]) -> list[str]:
    return [_scope(name, _read(folder, name)) for name in names]


def _scope(name: str, text: str) -> str:
    body = EXPORT.sub(r"\1", IMPORT.sub(_destructure, text))
    body = PART.sub(r'import("./\1-page.js")', body)
    return f"const {_variable(name)} = (() => {{\n{body}return {{ {_list_exports(text)} }};\n}})();"


def _list_exports(text: str) -> str:
    return ", ".join(match[2] for match in EXPORT.finditer(text))


def _export(names: list[str]) -> str:
    return f"export {{ {', '.join(map(_variable, names))} }};"


def _destructure(match: re.Match[str]) -> str:
    return f"const {match[1]} = {_variable(match[2])};\n" if match[1] else ""


def _variable(name: str) -> str:
    return f"${name.replace('-', '_')}"
