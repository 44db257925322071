"""`modelpad train RECIPE`: from data to a new version in the store."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from modelpad.cli.main import DONE
from modelpad.cli.recipe_options import (
    add_recipe_options,
    add_recipe_parsers,
    choose_data,
    read_request,
)
from modelpad.cli.train_on_cluster import add_cluster_options, check_workers, run_on_cluster
from modelpad.recipes.naming import describe_metrics
from modelpad.training.parallel import FollowerEnded
from modelpad.training.recipe import Recipe

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
    for recipe, one in add_recipe_parsers(parser):
        one.description = f"Train a model with the recipe {recipe.name} ({recipe.summary})."
        one.epilog = "\n  ".join(["examples:", *recipe.examples])
        add_recipe_options(one, recipe)
        add_cluster_options(one.add_argument_group("cluster"))


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
