"""The space of a search: the recipe's own, without what is given, and what `--set` changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from typing import Any

from modelpad.errors import UsageError, suggest_name
from modelpad.training.options import Flag, build_options, changed_options, flatten, read_flags
from modelpad.training.ranges import Range, Space
from modelpad.training.recipe import Recipe

FORM = "Write NAME=LOW..HIGH, such as learning_rate=1e-4..1e-2."
SAME_FOR_ALL = ("epochs", "seed", "limit")  # options of every recipe that are numbers
MAGNITUDE = 10  # a range over more than that is searched on a logarithmic scale


def choose_space(recipe: Recipe[Any], options: object, settings: Sequence[str]) -> Space:
    """What to vary: what `settings` (`NAME=LOW..HIGH`) say, then the recipe's own ranges.

    Options that differ from their defaults are given, so they are not varied. Raises `UsageError`
    for a setting that is not a range of a numeric option, or that the recipe does not accept.
    """
    usual = {} if recipe.search_space is None else recipe.search_space(options)
    given = changed_options(options)
    chosen: dict[str, Range] = {}
    for text in settings:
        name, found = read_setting(text, recipe.options, usual)
        if name in chosen or name in given:
            twice = "twice" if name in chosen else "also as an option"
            raise UsageError(f"--set {name} is given {twice}.", hint="Give it once.")
        chosen[name] = found
    space = chosen | {
        name: each for name, each in usual.items() if name not in chosen and name not in given
    }
    if not space:
        raise UsageError(
            "There is nothing left to search: all options of the search space are given.",
            hint=f"Leave one of them out, or give a range: --set NAME=LOW..HIGH. {FORM}",
        )
    for end in ("low", "high"):  # the recipe refuses what it does not accept
        with_values(recipe, options, {name: getattr(each, end) for name, each in space.items()})
    return space


def with_values(recipe: Recipe[Any], options: object, values: Mapping[str, float]) -> Any:
    """The options with other values of some. Raises `UsageError` as the recipe does."""
    return build_options(recipe.options, flatten(asdict(options)) | dict(values))  # type: ignore[call-overload]


def write_setting(name: str, low: float, high: float) -> str:
    """A range as `read_setting` takes it."""
    return f"{name}={low}..{high}"


def name_settings(settings: Sequence[str], recipe: Recipe[Any]) -> list[str]:
    """The options that settings are about."""
    return [find_flag(text.partition("=")[0].strip(), recipe.options).name for text in settings]


def read_setting(text: str, options: type, usual: Space) -> tuple[str, Range]:
    """The option's name and its range, with the scale of the recipe's own range, if it has one."""
    given, equals, ends = text.partition("=")
    low, dots, high = ends.partition("..")
    if not (equals and dots):
        raise UsageError(f"--set is {text!r}.", hint=FORM)
    flag = find_flag(given.strip(), options)
    least, most = (read_number(flag, end.strip()) for end in (low, high))
    if least >= most:
        raise UsageError(
            f"--set {flag.name}={ends}: {least:g} is not below {most:g}.",
            hint="Give the lower end first, and two different ones.",
        )
    if flag.name in usual:
        own = usual[flag.name]
        return flag.name, Range(least, most, own.log and least > 0)
    return flag.name, Range(least, most, least > 0 and most / least > MAGNITUDE)


def find_flag(given: str, options: type) -> Flag:
    """The numeric option of that name. Raises `UsageError`."""
    name = given.removeprefix("--").replace("-", "_")
    if name in SAME_FOR_ALL:
        raise UsageError(
            f"--set {name}: it is the same in all trials.", hint=f"Give it once: --{name} N"
        )
    flags = {each.name.rstrip("_"): each for each in read_flags(options)}
    numeric = {
        name: each
        for name, each in flags.items()
        if each.kind in (int, float) and not each.repeatable
    }
    if name in numeric:
        return numeric[name]
    if name in flags:
        raise UsageError(
            f"--set {name}: its values are not numbers.",
            hint=f"Search once for each of them. Numbers are: {', '.join(numeric)}.",
        )
    raise UsageError(
        f"--set {given}: there is no such option.", hint=suggest_name(name, numeric, kind="option")
    )


def read_number(flag: Flag, text: str) -> float:
    """A number of the option's kind. Raises `UsageError`."""
    try:
        value: float = flag.kind(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        what = "a whole number" if flag.kind is int else "a number"
        raise UsageError(f"--set {flag.name}: {text!r} is not {what}.", hint=FORM)
    return value
