"""`modelpad.toml`: settings below environment variables and options.

The one in the working folder comes before the user's own. A setting becomes the environment
variable that it stands for, unless that is set. Paths are relative to the file.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from modelpad.cli.variables import EXCLUDED, EXCLUDED_OF_TRAIN, convert_value, name_variable
from modelpad.errors import UsageError, suggest_name
from modelpad.recipes import RECIPES, load_recipe

NAME = "modelpad.toml"
# Settings of all commands. The tables [serve] and [train.RECIPE] have others, named as options.
GENERAL = {
    "store": "MODELPAD_STORE",
    "data": "MODELPAD_DATA",
    "cache": "MODELPAD_CACHE",
    "jobs": "MODELPAD_JOBS",
    "feedback": "MODELPAD_FEEDBACK",
}
PATHS = frozenset({*GENERAL, "api-keys", "require-signature", "tls-cert", "tls-key", "runs"})
OTHER_VARIABLES = {"allowed_host", "otlp_endpoint"}  # of serve, read elsewhere
PORTS = ("AIP_HTTP_PORT", "PORT")  # variables that also set the port of serve


class FileSetting(msgspec.Struct, frozen=True):
    """A setting of a file: the variable that it stands for, its text, and where it is."""

    variable: str
    text: str
    path: Path


def apply_config(variables: MutableMapping[str, str]) -> dict[str, Path]:
    """Sets the variables of all settings in files, and returns those that it set.

    Raises `UsageError` for a file with an unknown setting or a value of the wrong type.
    """
    applied: dict[str, Path] = {}
    for path in find_files(variables):
        for setting in read_file(path):
            name = setting.variable
            is_set = bool(variables.get(name, "").strip())
            if name == "MODELPAD_PORT":
                is_set |= any(variables.get(each) for each in PORTS)
            if not is_set:
                variables[name] = setting.text
                applied[name] = path
    return applied


def find_files(variables: Mapping[str, str]) -> list[Path]:
    """The files that exist, the first of which comes first."""
    folder = variables.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    candidates = (Path(NAME), Path(folder) / "modelpad" / NAME)
    return [path for path in candidates if path.is_file()]


def read_file(path: Path) -> list[FileSetting]:
    """The settings in a file. Raises `UsageError`."""
    import tomllib

    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, OSError) as error:
        raise UsageError(
            f"{path} cannot be read: {error}.", hint="It must be TOML: store = '/srv/models'"
        ) from error
    serve = take_table("serve", content, path)
    recipes = take_table("train", content, path)
    settings = []
    for key, value in content.items():
        if key not in GENERAL:
            raise name_unknown(key, path)
        text = write_general(key, value, path)
        settings.append(FileSetting(GENERAL[key], text, path))
    if serve:
        settings += read_table("serve", serve, list_serve_options(), path)
    for key in [*recipes]:
        if key not in RECIPES:
            raise name_unknown_recipe(key, path)
        values = take_table(key, recipes, path, within="train.")
        settings += read_table(f"train.{key}", values, list_train_options(key), path, key)
    return settings


def take_table(name: str, content: dict[str, Any], path: Path, within: str = "") -> dict[str, Any]:
    """Removes a table, and returns it; an empty one if there is none. Raises `UsageError`."""
    table = content.pop(name, {})
    if isinstance(table, dict):
        return table
    title = within + name
    raise UsageError(f"{title} in {path} is no table.", hint=f"Write [{title}] on a line.")


def read_table(
    table: str,
    values: Mapping[str, object],
    options: Mapping[str, argparse.Action],
    path: Path,
    recipe: str = "",
) -> Iterator[FileSetting]:
    """The settings of one table. Raises `UsageError`."""
    for key, value in values.items():
        name = key.replace("_", "-")
        if name not in options:
            hint = suggest_name(name, options, kind="setting")
            raise UsageError(f"There is no setting {key!r} in [{table}] of {path}.", hint=hint)
        text = write_option(f"{name} in [{table}] of {path}", value, options[name], path)
        yield FileSetting(name_variable(options[name].dest, recipe), text, path)


def list_serve_options() -> dict[str, argparse.Action]:
    """The options of `serve` that a file may set, by name."""
    parser = argparse.ArgumentParser(add_help=False)
    import_module("modelpad.cli.serve").configure(parser)  # which imports `main`, as all commands
    return {
        action.dest.replace("_", "-"): action
        for action in parser._actions
        if action.dest not in (EXCLUDED - OTHER_VARIABLES) | {*GENERAL}
    }


def list_train_options(recipe: str) -> dict[str, argparse.Action]:
    """The options of a recipe that a file may set, by name."""
    parser = argparse.ArgumentParser(add_help=False)
    train = import_module("modelpad.cli.train")
    train.add_recipe_options(parser, load_recipe(recipe))
    train.add_cluster_options(parser.add_argument_group("cluster"))
    return {
        action.dest.rstrip("_").replace("_", "-"): action
        for action in parser._actions
        if action.dest not in EXCLUDED_OF_TRAIN
    }


def name_unknown(key: str, path: Path) -> UsageError:
    """The error of a setting that does not exist outside of tables, with the nearest one."""
    name = key.replace("_", "-")
    hint = suggest_name(name, [*GENERAL, "serve", "train"], kind="setting")
    if name in list_serve_options():
        hint = f"It is a setting of serve: write it below the line [serve]. {hint}"
    return UsageError(f"There is no setting {key!r} in {path}.", hint=hint)


def name_unknown_recipe(key: str, path: Path) -> UsageError:
    """The error of a key of [train], which holds a table for each recipe."""
    name = key.replace("_", "-")
    having = [each for each in RECIPES if name in list_train_options(each)]
    if not having:
        hint = suggest_name(key, RECIPES, kind="recipe")
        return UsageError(f"There is no recipe {key!r} for [train.{key}] in {path}.", hint=hint)
    hint = f"Write it below a line with the recipe's name: [train.{having[0]}]."
    return UsageError(f"{key} in [train] of {path} is a setting of recipes.", hint=hint)


def write_general(key: str, value: object, path: Path) -> str:
    """The text of a path or, for `data`, of a list of paths. Raises `UsageError`."""
    if key == "data":
        values = value if isinstance(value, list) else [value]
        return os.pathsep.join(resolve(check_text(key, each, path), path) for each in values)
    return resolve(check_text(key, value, path), path)


def write_option(title: str, value: object, action: argparse.Action, path: Path) -> str:
    """The text of an option's value, as in its variable. Raises `UsageError`."""
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise UsageError(f"{title} is {value!r}.", hint="Set it to true or false.")
        text = str(value).lower()
    elif action.nargs == "*" or isinstance(action.default, list):
        values = value if isinstance(value, list) else [value]
        text = ",".join(check_item(title, each, path) for each in values)
    elif callable(action.type) and action.type is not str:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(f"{title} is {value!r}.", hint="Set it to a number, without quotes.")
        text = str(value)
    else:
        text = check_text(title, value, path)
    convert_value(action, title, text)
    return resolve(text, path) if action.dest.replace("_", "-") in PATHS else text


def check_item(title: str, value: object, path: Path) -> str:
    """An item of a list, which commas separate in variables. Raises `UsageError`."""
    text = check_text(title, value, path)
    if "," in text:
        raise UsageError(f"{title} has the item {text!r}.", hint="Items may not contain commas.")
    return text


def check_text(title: str, value: object, path: Path) -> str:
    """The value, if it is a string. Raises `UsageError`."""
    if isinstance(value, str):
        return value
    title = title if str(path) in title else f"{title} in {path}"
    raise UsageError(f"{title} is {value!r}.", hint='Set it to a text in quotes: "...".')


def resolve(text: str, path: Path) -> str:
    """A path relative to the file's folder; URLs and `sqlite:PATH` are kept."""
    scheme, colon, rest = text.partition(":")
    if colon and rest.startswith("//"):
        return text
    if colon and scheme == "sqlite":
        return f"sqlite:{path.parent.absolute() / Path(rest).expanduser()}"
    return str(path.parent.absolute() / Path(text).expanduser())
