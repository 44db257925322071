"""`modelpad train RECIPE`: from data to a new version in the store."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from modelpad.cli.main import DONE, add_common_options, add_store_option
from modelpad.cli.settings import Settings

EXAMPLE = """example:
  modelpad train digits
  modelpad train digits --arch conv --data mnist --epochs 12
  modelpad train digits --arch mini --data ./my-digits --name mine
  modelpad train digits --resume
"""
RECIPES = ("digits",)
ARCHITECTURES = ("best", "conv", "mini", "mlp")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.epilog = EXAMPLE
    parser.add_argument("recipe", metavar="RECIPE", choices=RECIPES, help="digits")
    parser.add_argument(
        "--arch", choices=ARCHITECTURES, default="best", help="architecture (%(default)s)"
    )
    parser.add_argument(
        "--data",
        default="mnist",
        metavar="NAME_OR_PATH",
        help="mnist, uci-digits, or a folder with one sub-folder of images a class (%(default)s)",
    )
    parser.add_argument("--name", help="the model's name in the store (the recipe's)")
    parser.add_argument("--epochs", type=int, help="passes over the data (the architecture's own)")
    parser.add_argument("--seed", type=int, default=0, help="makes it repeatable (%(default)s)")
    parser.add_argument("--resume", action="store_true", help="go on from the last epoch saved")
    parser.add_argument(
        "--limit", type=int, metavar="N", help="learn from the first N images only, to try it out"
    )
    parser.add_argument(
        "--skip-unreadable", action="store_true", help="leave out images that cannot be read"
    )
    parser.add_argument(
        "--runs", default="runs", metavar="DIR", help="logs, checkpoints, report (%(default)s)"
    )
    add_store_option(parser)
    add_common_options(parser)


def run(args: argparse.Namespace) -> int:
    """Trains, checks parity, pushes the bundle, and says what to type next."""
    from modelpad.recipes.digits import TrainOptions, train_digits
    from modelpad.store import LocalStore

    settings = Settings.from_environment(args)
    name = args.name or args.recipe
    store = LocalStore(settings.store)
    store.check_writable()
    run_folder = Path(args.runs) / f"{name}-{args.arch}"
    result = train_digits(
        TrainOptions(
            architecture=args.arch,
            data=args.data,
            name=name,
            epochs=args.epochs,
            seed=args.seed,
            resume=args.resume,
            run_folder=run_folder,
            roots=settings.data_roots,
            cache=settings.cache,
            limit=args.limit,
            skip_unreadable=args.skip_unreadable,
        ),
        out=sys.stderr,
    )
    entry = store.push(result.bundle)
    if args.json:
        facts = {"name": entry.name, "version": entry.version, "run": str(run_folder)}
        print(json.dumps(facts | dict(result.metrics) | {"data": result.data}))
        return DONE
    print(f"Test accuracy {100 * result.metrics['test_accuracy']:.2f} % on {result.data}.")
    print(f"Saved as {entry.name} version {entry.version}. Report: {run_folder / 'report.html'}")
    print(f"Next: modelpad serve {entry.name}")
    return DONE
