"""Wraps `--help` to the terminal: prose, commands, and tables of two columns."""

from __future__ import annotations

import argparse
import re
import shutil
import textwrap

MAX_COLUMNS = 80
MIN_COLUMN = 24  # characters for the second column of a table, else it goes below the first
TABLE_ROW = re.compile(r"( +\S.*? {2,})(\S.*)")
ARGUMENT = re.compile(r"""(?:[^\s"']|"[^"]*"|'[^']*')+""")
COMMAND = re.compile(r" *modelpad .*")


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Help of at most 80 columns. Lines of descriptions and examples are kept where they fit."""

    def __init__(self, prog: str) -> None:
        columns = shutil.get_terminal_size().columns
        super().__init__(prog, max_help_position=28, width=min(columns, MAX_COLUMNS) - 2)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(wrap_line(indent + line, width) for line in text.splitlines())


def wrap_line(line: str, width: int) -> str:
    """A line as several of at most `width` characters, unless a word is longer.

    A command is continued with backslashes, so that it can be pasted. The second column of a table
    stays a column.
    """
    if len(line) <= width:
        return line
    indent = len(line) - len(line.lstrip())
    row = TABLE_ROW.fullmatch(line)
    if row is None and COMMAND.fullmatch(line):
        return _wrap_command(line, width, indent)
    if row is None:
        start = " " * (indent if width - indent >= MIN_COLUMN else 6)
        return "\n".join(_wrap(line.strip(), width, start, start))
    head, rest = row.groups()
    if width - len(head) >= MIN_COLUMN:
        return "\n".join(_wrap(rest, width, head, " " * len(head)))
    return "\n".join([head.rstrip(), *_wrap(rest, width, " " * 6, " " * 6)])


def _wrap_command(line: str, width: int, indent: int) -> str:
    lines = [""]
    for word in ARGUMENT.findall(line):
        if lines[-1] and len(f"{lines[-1]} {word} \\") > width:
            lines.append(" " * (indent + 4) + word)
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else " " * indent + word
    return " \\\n".join(lines)


def _wrap(text: str, width: int, first: str, others: str) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )
