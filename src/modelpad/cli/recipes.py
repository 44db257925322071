"""`modelpad recipes`: lists the recipes that `train` can use."""

from __future__ import annotations

import argparse
import json
from typing import Any

from modelpad.cli.main import DONE, add_common_options
from modelpad.installation import install_command
from modelpad.recipes import RECIPES, load_recipe
from modelpad.training.recipe import Recipe

EXAMPLE = """example:
  modelpad recipes
  modelpad recipes --json
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.epilog = EXAMPLE
    add_common_options(parser)


def run(args: argparse.Namespace) -> int:
    """Lists each recipe with its data sets and the pip extra that it needs."""
    recipes = [load_recipe(name) for name in RECIPES]
    if args.json:
        print(json.dumps({"recipes": [describe(recipe) for recipe in recipes]}))
        return DONE
    for recipe in recipes:
        print(f"{recipe.name}  {recipe.summary}")
        print(f"  data   {', '.join(recipe.data_sets)}")
        print(f"  needs  {install_command(recipe.extra)}")
    print(f"Next: modelpad train {recipes[0].name} --help")
    return DONE


def describe(recipe: Recipe[Any]) -> dict[str, object]:
    """A recipe as JSON."""
    return {
        "name": recipe.name,
        "summary": recipe.summary,
        "data_sets": list(recipe.data_sets),
        "extra": recipe.extra,
    }
