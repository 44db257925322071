"""`modelpad train RECIPE`: from data to a new version in the store."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelpad.cli.help_format import HelpFormatter
from modelpad.cli.main import DONE, add_common_options, add_store_option
from modelpad.cli.settings import Settings
from modelpad.cli.train_on_cluster import add_cluster_options, check_workers, run_on_cluster
from modelpad.errors import UsageError
from modelpad.recipes import RECIPES, load_recipe
from modelpad.recipes.naming import choose_name, describe_metrics
from modelpad.training.options import Flag, build_options, name_flag, read_flags
from modelpad.training.parallel import FollowerEnded
from modelpad.training.recipe import Recipe

if TYPE_CHECKING:
    from modelpad.store import Store
    from modelpad.training.run import TrainRequest

NO_METRICS = ("name", "version", "run", "data")  # of what is printed as JSON
EXAMPLE = """examples:
  modelpad recipes               list the recipes
  modelpad train digits          train with the defaults
  modelpad train digits --help   show the options of a recipe
  modelpad train digits --on ray://HEAD:10001 --train-cpus 8
                                 train on a machine of a Ray cluster
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds a parser for each recipe."""
    parser.epilog = EXAMPLE
    recipes = parser.add_subparsers(metavar="RECIPE", required=True, title="recipes")
    for name in RECIPES:
        recipe = load_recipe(name)
        recipe_parser = recipes.add_parser(
            name,
            help=recipe.summary,
            description=f"Train {recipe.summary}.",
            epilog="\n  ".join(["examples:", *recipe.examples]),
            formatter_class=HelpFormatter,
        )
        add_recipe_options(recipe_parser, recipe)
        add_cluster_options(recipe_parser.add_argument_group("cluster"))
        recipe_parser.set_defaults(parser=recipe_parser, recipe=recipe)


def list_parsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of the recipes, by name."""
    return {
        name: child
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for name, child in action.choices.items()
    }


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
    shared.add_argument(
        "--limit", type=int, metavar="N", help="use only N items of each split, chosen at random"
    )
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


def run(args: argparse.Namespace) -> int:
    """Trains, checks parity, pushes the bundle, and suggests the next command."""
    check_workers(args)
    if args.on:
        code, facts = run_on_cluster(args, choose_data(args, args.recipe))
        return code or announce(facts, as_json=args.json)
    try:
        return announce(train_here(args), as_json=args.json)
    except FollowerEnded:
        return DONE


def train_here(args: argparse.Namespace) -> dict[str, Any]:
    """Trains on this machine; name, version, run folder, metrics and data."""
    from modelpad.training.data_progress import ProgressPrinter
    from modelpad.training.pipeline import train

    recipe: Recipe[Any] = args.recipe
    options, request, store = read_request(args)
    name, folder = request.name, request.folder
    progress = ProgressPrinter(sys.stderr, live=sys.stderr.isatty())
    outcome = train(recipe, options, request, out=sys.stderr, store=store, data_progress=progress)
    version = outcome.entry.version if outcome.entry else 0
    facts = {"name": name, "version": version, "run": str(folder)}
    return facts | dict(outcome.metrics) | {"data": outcome.data}


def read_request(args: argparse.Namespace) -> tuple[Any, TrainRequest, Store]:
    """The recipe's options, the request, and the store that the model will be added to."""
    from modelpad.store import open_store
    from modelpad.training.run import TrainRequest

    settings = Settings.from_environment(args)
    recipe: Recipe[Any] = args.recipe
    data = choose_data(args, recipe)
    store = open_store(settings.store)
    name = choose_name(recipe, args.name, data, store)
    store.check_writable()
    options = build_options(recipe.options, vars(args))
    request = TrainRequest(
        name=name,
        data=data,
        folder=Path(args.runs) / recipe.folder_name(name, options),
        epochs=args.epochs,
        seed=args.seed,
        resume=args.resume,
        limit=args.limit,
        skip_unreadable=args.skip_unreadable,
        roots=settings.data_roots,
        cache=settings.cache,
        store=settings.store,
    )
    return options, request, store


def announce(facts: dict[str, Any], *, as_json: bool) -> int:
    """Prints what came of a training."""
    if as_json:
        print(json.dumps(facts))
        return DONE
    metrics = {name: value for name, value in facts.items() if name not in NO_METRICS}
    print(f"{describe_metrics(metrics)} on {facts['data']}.")
    report = Path(facts["run"]) / "report.html"
    print(f"Saved as {facts['name']} version {facts['version']}. Report: {report}")
    print(f"Next: modelpad serve {facts['name']}")
    return DONE


def choose_data(args: argparse.Namespace, recipe: Recipe[Any]) -> str:
    """The data set that was named, or the recipe's default. Raises `UsageError` for two of them."""
    if args.place and args.data:
        raise UsageError(
            f"There are two data sets: {args.place} and --data {args.data}.", hint="Give one."
        )
    return str(args.place or args.data or recipe.data_sets[0])
