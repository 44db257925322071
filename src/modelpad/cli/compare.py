"""`modelpad compare A B`: two versions side by side."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from modelpad.cli.listing import make_printable
from modelpad.cli.main import DONE, add_common_options, add_store_option
from modelpad.cli.output_files import check_parent, open_output
from modelpad.cli.settings import Settings
from modelpad.errors import UsageError

EXAMPLE = """examples:
  modelpad compare digits@3 digits@4
  modelpad compare digits@production digits -o changes.html
  modelpad compare pets pets-small --data ./held-out
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.epilog = EXAMPLE
    words = "NAME, NAME@VERSION, NAME@ALIAS or a bundle's folder"
    parser.add_argument("model", metavar="A", help=words)
    parser.add_argument("other", metavar="B", help=f"the version to compare it with: {words}")
    parser.add_argument(
        "--data",
        metavar="NAME_OR_PATH",
        help="items to run both on: the test split of a data set, else all of it; for models of"
        " tables a CSV file (default: the test split of the data that B, or else A, was trained"
        " on)",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="also write a report, one HTML file: FILE.html"
    )
    add_store_option(parser)
    add_common_options(parser)


def run(args: argparse.Namespace) -> int:
    """Compares the versions, prints the comparison, and writes the report."""
    from modelpad.cli.compare_output import describe, write_comparison
    from modelpad.comparison import ComparisonRequest, compare
    from modelpad.promotion.held_out import DataPlaces
    from modelpad.store import open_store

    settings = Settings.from_environment(args)
    target = choose_target(args.output)
    request = ComparisonRequest(
        args.model, args.other, args.data, DataPlaces(settings.data_roots, settings.cache)
    )
    found = compare(open_store(settings.store), request, lambda line: print(line, file=sys.stderr))
    if target is not None:
        from modelpad.comparison.report import render_comparison

        with open_output(str(target)) as out:
            out.write(render_comparison(found))
    if args.json:
        print(json.dumps(describe(found)))
        return DONE
    for line in write_comparison(found):
        print(make_printable(line))
    if target is not None:
        print(f"Report: {target}")
    else:
        print(f"As a page: modelpad compare {args.model} {args.other} -o changes.html")
    return DONE


def choose_target(given: str | None) -> Path | None:
    """The file to write. Raises `UsageError` before anything is computed in vain."""
    if given is None:
        return None
    target = Path(given).expanduser()
    if target.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{given} is not an HTML file.", hint="For example: -o changes.html")
    check_parent(target)
    return target
