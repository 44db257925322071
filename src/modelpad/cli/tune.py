"""`modelpad tune RECIPE`: searches its options by validation, and saves the best model."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from modelpad.cli.listing import print_table
from modelpad.cli.live_line import LiveLine
from modelpad.cli.main import DONE
from modelpad.cli.recipe_options import add_recipe_options, add_recipe_parsers, read_request
from modelpad.recipes import load_searchable
from modelpad.recipes.naming import describe_metrics
from modelpad.training.recipe import Recipe

if TYPE_CHECKING:
    from modelpad.store import Store
    from modelpad.training.pipeline import Outcome
    from modelpad.tuning.journal import TrialRecord
    from modelpad.tuning.search import Search

EXAMPLE = """examples:
  modelpad tune digits --trials 20
  modelpad tune digits --data mnist --limit 2000 --trials 8
  modelpad tune images ./pets --set learning_rate=1e-4..1e-2 --timeout 60
  modelpad tune digits --resume          go on with a search that was stopped
  modelpad tune digits --help            show the options of a recipe
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds a parser for each recipe."""
    parser.epilog = EXAMPLE
    for recipe, one in add_recipe_parsers(parser):
        one.description = f"Search the options of the recipe {recipe.name} ({recipe.summary})."
        one.epilog = f"example:\n  modelpad tune {recipe.name} --trials 20"
        add_search_options(one)
        add_recipe_options(one, recipe)


def add_search_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the search itself."""
    group = parser.add_argument_group("search options")
    group.add_argument(
        "--trials",
        type=int,
        default=20,
        metavar="N",
        help="trainings to try, the first with the recipe's defaults (default: %(default)s)",
    )
    group.add_argument(
        "--timeout",
        type=float,
        metavar="MINUTES",
        help="end the search after that time, and keep the best trial",
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=LOW..HIGH",
        help="search this option between these values; repeatable. Options that are given otherwise"
        " are the same in all trials",
    )


def run(args: argparse.Namespace) -> int:
    """Searches, shows the trials, tests and saves the best, and suggests the next command."""
    from modelpad.tuning.command import describe_trial
    from modelpad.tuning.report import write_report

    line = LiveLine(sys.stderr)
    search, store = start_search(args, line)
    announce(search)

    def show(record: TrialRecord) -> None:
        line.clear()
        print(describe_trial(search, record), file=sys.stderr, flush=True)

    search.run(show)
    line.clear()
    if search.interrupted and search.best:
        print("\nStopped: testing the best trial so far.", file=sys.stderr)
    outcome = search.finish(sys.stderr, store)
    write_report(search, args.name)
    print_result(search, outcome, args)
    return DONE


def start_search(args: argparse.Namespace, line: LiveLine) -> tuple[Search, Store]:
    """The search that was asked for, which shows its epochs on `line`, and the store."""
    from modelpad.training.data_progress import ProgressPrinter
    from modelpad.tuning.search import Search, SearchPlan, in_search_folder

    recipe: Recipe[Any] = load_searchable(args.recipe.name)
    timeout_s = None if args.timeout is None else 60 * args.timeout
    plan = SearchPlan(args.trials, timeout_s, tuple(args.set))
    options, request, store = read_request(args)
    progress = ProgressPrinter(sys.stderr, live=sys.stderr.isatty())

    def watch(number: int, share: float, step: str) -> None:
        line.show(f"trial {number}/{plan.trials}: {step}")

    return Search(recipe, options, in_search_folder(request), plan, progress, watch), store


def announce(search: Search) -> None:
    """What is searched, and how far an earlier search came."""
    from modelpad.training.ranges import describe_space

    print(f"Searching {describe_space(search.space)}, by {search.metric}.", file=sys.stderr)
    if search.records:
        print(f"Resuming after trial {len(search.records)}.", file=sys.stderr)


def print_result(search: Search, outcome: Outcome, args: argparse.Namespace) -> None:
    """The trials, the command, and where the model is; as JSON if that was asked for."""
    from modelpad.tuning.command import write_command
    from modelpad.tuning.report import tabulate_trials
    from modelpad.tuning.search import REPORT

    best, entry = search.best, outcome.entry
    assert best is not None
    assert entry is not None
    command = write_command(search, best, args.name)
    if args.json:
        facts = {
            "name": entry.name,
            "version": entry.version,
            "run": str(search.name_folder(best.number)),
            "metric": search.metric,
            "best": write_json(best),
            "trials": [write_json(each) for each in search.records],
            "command": command,
        }
        print(json.dumps(facts | dict(outcome.metrics) | {"data": outcome.data}))
        return
    table = tabulate_trials(search)
    print_table([table.columns, *table.rows])
    default = search.default
    if default and default is not best:
        print(f"Validation: {search.metric} {best.loss:.5f}, {default.loss:.5f} with the defaults.")
    elif default:
        print("No trial did better than the recipe's defaults.")
    print(f"{describe_metrics(outcome.metrics)} on {outcome.data}.")
    print(f"Saved as {entry.name} version {entry.version}. Report: {search.folder / REPORT}")
    print(f"The same model: {command}")
    print(f"Next: modelpad serve {entry.name}")


def write_json(record: TrialRecord) -> dict[str, object]:
    """A trial as JSON."""
    return {
        "number": record.number,
        "options": dict(record.values),
        "used": dict(record.used),
        "state": record.state,
        "loss": record.loss if record.losses else None,
        "epochs": len(record.losses),
        "seconds": record.seconds,
        "reason": record.reason,
    }
