"""The tables of options in docs/command-line.md, from the parsers: what `--help` says, once.

`python -m tests.docs.option_tables` writes them between their marks; a test checks that they are
up to date.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path

from modelpad.cli.config_file import list_serve_options
from modelpad.cli.main import build_parser
from modelpad.cli.variables import name_variable

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"
MARK = re.compile(
    r"(<!-- options of (?P<command>[\w ]+) -->\n).*?(<!-- end of options -->)", re.DOTALL
)
EVERYWHERE = {"help", "json", "debug", "store"}  # described once, at the top of the page


def fill_tables(text: str) -> str:
    """The page with its tables as they should be."""
    parsers = list_parsers(build_parser(), "")
    return MARK.sub(
        lambda found: found[1] + write_table(found["command"], parsers) + found[3], text
    )


def list_parsers(parser: argparse.ArgumentParser, name: str) -> dict[str, argparse.ArgumentParser]:
    """The parsers of all commands and of what they choose from, by name: `train digits`."""
    found = {name: parser}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, child in action.choices.items():
                found |= list_parsers(child, f"{name} {word}".strip())
    return found


def write_table(command: str, parsers: Mapping[str, argparse.ArgumentParser]) -> str:
    """The table of a command's options."""
    rows = choose_rows(command, parsers)
    if command == "serve":
        for option in list_serve_options().values():
            name, variable = name_option(option), name_variable(option.dest)
            if variable not in rows[name]:
                rows[name] += f"; variable `{variable}`"
    lines = [f"| {name} | {text} |" for name, text in rows.items()]
    return "\n".join(["| option | meaning |", "| --- | --- |", *lines, ""])


def choose_rows(command: str, parsers: Mapping[str, argparse.ArgumentParser]) -> dict[str, str]:
    """A command's rows; of `train` what all recipes share, of a recipe what it does not.

    Of `tune`, what `train` does not have.
    """
    if command == "tune":
        own, trained = (list_rows(parsers[f"{each} digits"]) for each in ("tune", "train"))
        return {name: text for name, text in own.items() if name not in trained}
    if not command.startswith("train"):
        return list_rows(parsers[command])
    recipes = {name: list_rows(each) for name, each in parsers.items() if name.startswith("train ")}
    first = next(iter(recipes.values()))
    shared = {
        name: text
        for name, text in first.items()
        if all(text == each.get(name) for each in recipes.values())
    }
    if command == "train":
        return shared
    known = [*shared.items(), *(recipes["train images"].items() if command == "train xray" else [])]
    return {name: text for name, text in recipes[command].items() if (name, text) not in known}


def list_rows(parser: argparse.ArgumentParser) -> dict[str, str]:
    """Names and meanings of a parser's options, as Markdown."""
    formatter = argparse.HelpFormatter(parser.prog)
    return {
        name_option(action): escape(formatter._expand_help(action)) + list_choices(action)
        for action in parser._actions
        if action.dest not in EVERYWHERE
        and not isinstance(action, argparse._SubParsersAction)
        and action.help is not argparse.SUPPRESS
    }


def name_option(action: argparse.Action) -> str:
    """`-o`, `--output PATH`; an argument by its name."""
    names = [
        name
        for name in action.option_strings
        if not name.startswith("--no-") or len(action.option_strings) == 1
    ]
    names += [name for name in action.option_strings if name not in names]
    if not names:
        return f"`{action.metavar or action.dest}`"
    values = action.metavar.split("|") if isinstance(action.metavar, str) else []
    last = " or ".join(f"`{value}`" for value in [" ".join([names[-1], *values[:1]]), *values[1:]])
    return ", ".join([*(f"`{name}`" for name in names[:-1]), last])


def list_choices(action: argparse.Action) -> str:
    """The values that an option accepts, unless its help names them."""
    choices = [str(each) for each in action.choices or ()]
    if not choices or all(choice in (action.help or "") for choice in choices):
        return ""
    return f": {', '.join(f'`{each}`' for each in choices)}"


def escape(text: str) -> str:
    """A text in a cell of a table."""
    return re.sub(r"[|*<]", r"\\\g<0>", text)


if __name__ == "__main__":
    PAGE.write_text(fill_tables(PAGE.read_text("utf-8")), "utf-8")
