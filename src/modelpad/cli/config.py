"""`modelpad config`: shows each setting, its value and where it comes from."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelpad.cli.config_file import GENERAL, PORTS, list_serve_options, list_train_options
from modelpad.cli.listing import print_table
from modelpad.cli.main import DONE, add_common_options
from modelpad.cli.settings import Settings, read_port
from modelpad.cli.variables import name_variable
from modelpad.locations import locate_jobs
from modelpad.recipes import RECIPES

EXAMPLE = """example:
  modelpad config
  modelpad config --json

  A file modelpad.toml, in the working folder or ~/.config/modelpad:
    store = "models"
    [serve]
    port = 9000
    models = ["digits", "writer"]
    [train.images]
    epochs = 10
"""
DEFAULT = "default"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.epilog = EXAMPLE
    add_common_options(parser)


def run(args: argparse.Namespace) -> int:
    """Prints one line per setting."""
    rows = list_settings(args, os.environ, args.config)
    if args.json:
        names = ("name", "value", "source")
        print(json.dumps({"settings": [dict(zip(names, row, strict=True)) for row in rows]}))
        return DONE
    print_table([("SETTING", "VALUE", "FROM"), *((n, show(v), s) for n, v, s in rows)])
    return DONE


def list_settings(
    args: argparse.Namespace, variables: Mapping[str, str], files: Mapping[str, Path]
) -> list[tuple[str, Any, str]]:
    """Each setting's name, value and source; `files` are those of variables set by files."""

    def find_source(variable: str) -> str:
        if variable in files:
            return str(files[variable])
        return f"variable {variable}" if variables.get(variable, "").strip() else DEFAULT

    settings = Settings.from_environment(args, variables)
    values = {
        "store": str(settings.store),
        "data": [str(root) for root in settings.data_roots],
        "cache": str(settings.cache),
        "jobs": str(locate_jobs(None, variables)),
        "feedback": variables.get("MODELPAD_FEEDBACK") or None,
    }
    rows = [(name, values[name], find_source(GENERAL[name])) for name in GENERAL]
    for name, action in list_serve_options().items():
        variable = name_variable(action.dest)
        source, value = find_source(variable), variables.get(variable, "").strip()
        if name == "port" and source == DEFAULT:
            value = str(read_port(variables))
            source = next((f"variable {each}" for each in PORTS if variables.get(each)), DEFAULT)
        rows.append((f"serve.{name}", value or action.default, source))
    for recipe in RECIPES:  # what differs from the recipe's own settings, which its help lists
        for name, action in list_train_options(recipe).items():
            variable = name_variable(action.dest, recipe)
            value = variables.get(variable, "").strip()
            if value:
                rows.append((f"train.{recipe}.{name}", value, find_source(variable)))
    return rows


def show(value: object) -> str:
    """A value on one line; nothing for none."""
    if value is None or value == []:
        return "-"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if isinstance(value, bool) else str(value)
