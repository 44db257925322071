"""The options that `train` and `tune` have in common: a parser for each recipe, and the request."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelpad.cli.help_format import HelpFormatter
from modelpad.cli.main import add_common_options, add_store_option
from modelpad.cli.settings import Settings
from modelpad.errors import UsageError
from modelpad.recipes import RECIPES, load_recipe
from modelpad.training.options import Flag, build_options, name_flag, read_flags
from modelpad.training.recipe import Recipe

if TYPE_CHECKING:
    from modelpad.store import Store
    from modelpad.training.run import TrainRequest


def add_recipe_parsers(
    parser: argparse.ArgumentParser,
) -> Iterator[tuple[Recipe[Any], argparse.ArgumentParser]]:
    """Adds a parser for each recipe, without options yet."""
    recipes = parser.add_subparsers(metavar="RECIPE", required=True, title="recipes")
    for name in RECIPES:
        recipe = load_recipe(name)
        one = recipes.add_parser(name, help=recipe.summary, formatter_class=HelpFormatter)
        one.set_defaults(parser=one, recipe=recipe)
        yield recipe, one


def add_recipe_options(parser: argparse.ArgumentParser, recipe: Recipe[Any]) -> None:
    """Adds the recipe's own options, then those of every recipe."""
    own = parser.add_argument_group("recipe options")
    for flag in read_flags(recipe.options):
        add_flag(own, flag)
    shared = parser.add_argument_group("common options")
    sets = " or ".join(filter(None, [", ".join(recipe.data_sets[:-1]), recipe.data_sets[-1]]))
    data_help = f"training data: {sets} (default: {recipe.data_sets[0]})"
    parser.add_argument("place", nargs="?", metavar="DATA", help="the same as --data")
    shared.add_argument("--data", metavar="NAME_OR_PATH", help=data_help)
    named = "the name of the data" if recipe.named_after_data else recipe.name
    shared.add_argument("--name", help=f"the model's name in the store (default: {named})")
    shared.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="passes over the data (default: chosen by the recipe)",
    )
    shared.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seed for random numbers (default: %(default)s)",
    )
    shared.add_argument("--resume", action="store_true", help="continue from the last checkpoint")
    shared.add_argument("--limit", type=int, metavar="N", help="use only N items of each split")
    shared.add_argument(
        "--skip-unreadable", action="store_true", help="skip files that cannot be read"
    )
    shared.add_argument(
        "--runs",
        default="runs",
        metavar="DIR",
        help="folder for logs, checkpoints and reports (default: %(default)s)",
    )
    add_store_option(shared)
    add_common_options(shared)


def add_flag(parser: argparse._ArgumentGroup, flag: Flag) -> None:
    """Adds an option of a recipe, with its default in the help."""
    name = name_flag(flag.name)
    text = flag.help.replace("%", "%%")  # which argparse formats
    if flag.kind is bool:
        parser.add_argument(name, dest=flag.name, action="store_true", help=text)
        return
    shown = "" if flag.default in (None, ()) else " (default: %(default)s)"
    settings: dict[str, Any] = {"choices": flag.choices} if flag.choices else {}
    if not flag.choices:
        settings["metavar"] = flag.metavar or flag.name.upper()
    parser.add_argument(
        name,
        dest=flag.name,
        type=flag.kind,
        action="append" if flag.repeatable else "store",
        default=[] if flag.repeatable else flag.default,
        help=text + shown,
        **settings,
    )


def read_request(args: argparse.Namespace) -> tuple[Any, TrainRequest, Store]:
    """The recipe's options, the request, and the store that the model will be added to."""
    from modelpad.recipes.request import build_request
    from modelpad.store import open_store

    settings = Settings.from_environment(args)
    recipe: Recipe[Any] = args.recipe
    store = open_store(settings.store)
    options = build_options(recipe.options, vars(args))
    request = build_request(
        recipe,
        options,
        choose_data(args, recipe),
        store,
        name=args.name,
        runs=Path(args.runs),
        epochs=args.epochs,
        seed=args.seed,
        resume=args.resume,
        limit=args.limit,
        skip_unreadable=args.skip_unreadable,
        roots=settings.data_roots,
        cache=settings.cache,
    )
    return options, request, store


def choose_data(args: argparse.Namespace, recipe: Recipe[Any]) -> str:
    """The data set that was named, or the recipe's default. Raises `UsageError` for two of them."""
    if args.place and args.data:
        raise UsageError(
            f"There are two data sets: {args.place} and --data {args.data}.", hint="Give one."
        )
    return str(args.place or args.data or recipe.data_sets[0])
