"""Environment variables as defaults of a command's options: `MODELPAD_TIMEOUT` for `--timeout`.

Those of `serve`, and of the recipes of `train`: `MODELPAD_TRAIN_IMAGES_EPOCHS`. An option on the
command line comes first, then its variable, then the option's own default.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from modelpad.errors import UsageError

PREFIX = "MODELPAD_"
# Names that differ from the option's. An API key's own variable holds keys, not a file's path.
OTHER_NAMES = {
    "allowed_host": "MODELPAD_ALLOWED_HOSTS",
    "cors_origin": "MODELPAD_CORS_ORIGINS",
    "frame_ancestor": "MODELPAD_FRAME_ANCESTORS",
    "admin": "MODELPAD_ADMINS",
    "api_keys": "MODELPAD_API_KEYS_FILE",
}
# Read elsewhere, together with other variables, or of no use in the environment.
EXCLUDED = frozenset(
    {"help", "debug", "json", "store", "feedback", "otlp_endpoint", "allowed_host", "open"}
)
# What to train or to search, and whether to start afresh, is said with each command.
EXCLUDED_OF_TRAIN = frozenset(
    {"help", "debug", "json", "store", "place", "data", "name", "resume"}
    | {"trials", "timeout", "set"}
)
TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})


class ListDefault(list[str]):
    """Values that a repeatable option replaces; argparse would add to those of a plain list."""

    def __copy__(self) -> list[str]:
        return []


def name_variable(destination: str, recipe: str = "") -> str:
    """The variable of an option of `serve` or of a recipe, by its name in the parsed arguments."""
    if recipe:
        return f"{PREFIX}TRAIN_{recipe}_{destination.rstrip('_')}".upper()
    return OTHER_NAMES.get(destination, PREFIX + destination.upper())


def read_variables(
    parser: argparse.ArgumentParser, variables: Mapping[str, str], recipe: str = ""
) -> None:
    """Makes the values of variables the defaults of the options of `serve` or of a recipe.

    Lists are separated by commas. Raises `UsageError` for a value that the option does not accept.
    """
    for action in parser._actions:
        if action.dest in (EXCLUDED_OF_TRAIN if recipe else EXCLUDED):
            continue
        name = name_variable(action.dest, recipe)
        text = variables.get(name, "").strip()
        if text:
            parser.set_defaults(**{action.dest: convert_value(action, name, text)})


def read_names(text: str) -> list[str]:
    """The names in a list that is separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def convert_value(action: argparse.Action, name: str, text: str) -> Any:
    """The value of an option in a text; `name` is what an error calls it. Raises `UsageError`."""
    if action.nargs == 0:
        return _read_flag(name, text)
    if action.nargs == "*" or isinstance(action.default, list):
        return ListDefault(read_names(text))
    if action.choices is not None and text not in action.choices:
        raise UsageError(f"{name} is {text!r}.", hint=f"Use one of: {', '.join(action.choices)}.")
    convert: Callable[[str], Any] = action.type if callable(action.type) else str
    try:
        return convert(text)
    except UsageError as error:
        raise UsageError(f"{name} is {text!r}.", hint=error.hint) from None
    except ValueError:
        whole = "a whole number" if convert is int else "a number"
        raise UsageError(f"{name} is {text!r}.", hint=f"Set it to {whole}.") from None


def _read_flag(name: str, text: str) -> bool:
    if text.lower() in TRUE | FALSE:
        return text.lower() in TRUE
    raise UsageError(f"{name} is {text!r}.", hint="Set it to true or false.")
