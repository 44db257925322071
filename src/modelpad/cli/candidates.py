"""What may come next on a command line: from the parsers, the store and the registries.

It does not know about shells.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from modelpad.errors import ModelpadError
from modelpad.locations import locate_store

Candidate: TypeAlias = "tuple[str, str]"  # the word, and what it means

MODEL_ARGUMENTS = frozenset({"model", "models", "other"})  # by their names in the parsed arguments
NAMED = frozenset({"alias", "promote", "traffic", "shadow", "rollback"})  # `name` is a model


def find_candidates(words: Sequence[str], variables: Mapping[str, str]) -> list[Candidate]:
    """The words that may replace the last one, which may be empty, in the order of `--help`.

    `words` are those after `modelpad`.
    """
    from modelpad.cli.main import build_parser

    *before, prefix = words
    try:
        parser, action, given = follow(build_parser([*before] or ["help"]), before)
    except ModelpadError:
        return []
    option, equals, value = prefix.partition("=")
    if equals and option in parser._option_string_actions:
        chosen = list_values(parser, parser._option_string_actions[option], value, given, variables)
        return [(f"{option}={word}", words) for word, words in chosen]
    if action is not None:
        return list_values(parser, action, prefix, given, variables)
    if prefix.startswith("-"):
        return [each for each in list_options(parser) if each[0].startswith(prefix)]
    positional = next_positional(parser, len(given))
    if positional is None:
        return []
    return list_values(parser, positional, prefix, given, variables)


def follow(
    parser: argparse.ArgumentParser, words: Iterable[str]
) -> tuple[argparse.ArgumentParser, argparse.Action | None, list[str]]:
    """The parser of the command that the words name, and where they end in it.

    That is the option that awaits a value, if any, and the positional arguments so far.
    """
    pending: argparse.Action | None = None
    given: list[str] = []
    for word in words:
        if pending is not None:
            pending = None
            continue
        if word.startswith("-") and word != "-":
            known = parser._option_string_actions.get(word)
            pending = known if known is not None and known.nargs != 0 else None
            continue
        action = next_positional(parser, len(given))
        if isinstance(action, argparse._SubParsersAction) and word in action.choices:
            parser, given = action.choices[word], []
        else:
            given.append(word)
    return parser, pending, given


def next_positional(parser: argparse.ArgumentParser, count: int) -> argparse.Action | None:
    """The positional argument after `count` others; the last one may be repeated."""
    positionals = [action for action in parser._actions if not action.option_strings]
    if count < len(positionals):
        return positionals[count]
    repeated = positionals and positionals[-1].nargs in ("*", "+")
    return positionals[-1] if repeated else None


def list_options(parser: argparse.ArgumentParser) -> list[Candidate]:
    """The long options with the beginning of their help."""
    found = []
    for action in parser._actions:
        if action.help != argparse.SUPPRESS:
            words = (action.help or "").partition("(default")[0].partition(";")[0].strip()
            found += [(name, words) for name in action.option_strings if name.startswith("--")]
    return found


def list_values(
    parser: argparse.ArgumentParser,
    action: argparse.Action,
    prefix: str,
    given: Sequence[str],
    variables: Mapping[str, str],
) -> list[Candidate]:
    """The values of an argument that begin with a prefix; none for files and free text."""
    if isinstance(action, argparse._SubParsersAction):
        found = [(each.dest, each.help or "") for each in action._choices_actions]
    elif action.choices is not None:
        found = [(str(choice), "") for choice in action.choices]
    elif action.dest in MODEL_ARGUMENTS or is_name(parser, action):
        built_in = not parser.prog.startswith("modelpad models")
        found = list_models(prefix, variables, built_in=built_in)
    elif action.dest in ("data", "place") or parser.prog == "modelpad data":
        found = list_data_sets(parser)
    elif action.dest in ("version", "alias") and given:
        found = list_references(given[0], variables)
    else:
        found = []
    return [(word, words) for word, words in found if word.startswith(prefix)]


def is_name(parser: argparse.ArgumentParser, action: argparse.Action) -> bool:
    """Whether an argument called `name` is a model's."""
    command = parser.prog.split()[-1]
    return action.dest == "name" and not action.option_strings and command in NAMED


def list_models(prefix: str, variables: Mapping[str, str], *, built_in: bool) -> list[Candidate]:
    """The models in the store, and those that ship with modelpad; after `NAME@`, their versions."""
    from modelpad.store import list_names
    from modelpad.zoo import zoo_bundles

    name, at, _ = prefix.partition("@")
    if at:
        return [(f"{name}@{each}", words) for each, words in list_references(name, variables)]
    shipped = dict.fromkeys(zoo_bundles() if built_in else (), "built in")
    return [*(shipped | dict.fromkeys(list_names(locate_store(None, variables)), "")).items()]


def list_references(name: str, variables: Mapping[str, str]) -> list[Candidate]:
    """A model's aliases and versions, the newest first."""
    from modelpad.store import LocalStore

    store = LocalStore(locate_store(None, variables))
    try:
        aliases = [(alias, f"version {version}") for alias, version in store.aliases(name).items()]
        return aliases + [(str(version), "") for version in reversed(store.versions(name))]
    except ModelpadError:
        return []


def list_data_sets(parser: argparse.ArgumentParser) -> list[Candidate]:
    """The named data sets: of a recipe those that it trains on."""
    from modelpad.datasets import CATALOGUE

    recipe = parser.get_default("recipe")
    names = sorted(CATALOGUE) if recipe is None else recipe.data_sets
    return [(name, CATALOGUE[name].title) for name in names if name in CATALOGUE]
