"""`modelpad samples [DIR]`: writes files to try commands with."""

from __future__ import annotations

import argparse
import json
import os
import shlex
from pathlib import Path

from modelpad.cli.main import DONE, add_common_options
from modelpad.errors import UsageError

EXAMPLE = """example:
  modelpad samples
  modelpad samples ./samples
  modelpad predict digits samples/seven.png
  modelpad predict reviews samples/reviews.csv
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.epilog = EXAMPLE
    parser.add_argument(
        "folder",
        metavar="DIR",
        nargs="?",
        default="samples",
        help="where to write them (default: %(default)s)",
    )
    parser.add_argument("--force", action="store_true", help="write over files that are different")
    add_common_options(parser)


def run(args: argparse.Namespace) -> int:
    """Writes the files, and prints commands to try."""
    from modelpad.zoo.example_files import example_files

    folder = Path(args.folder)
    files = example_files()
    changed = [
        name
        for name, body in files.items()
        if (folder / name).exists() and (folder / name).read_bytes() != body
    ]
    if changed and not args.force:
        raise UsageError(
            f"{folder / changed[0]} exists and is another file.",
            hint="Choose another folder, or write over it with --force.",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, body in files.items():
            (folder / name).write_bytes(body)
    except OSError as error:
        raise UsageError(
            f"{error.filename} cannot be written: {error.strerror}.", hint="Choose another folder."
        ) from error
    if args.json:
        print(json.dumps({"folder": str(folder), "files": [*files]}))
        return DONE
    print(f"Wrote {len(files)} files to {folder}{os.sep}: {', '.join(files)}.")
    print("Next:")
    for model, name in (("digits", "seven.png"), ("reviews", "review.txt")):
        print(f"  modelpad predict {model} {shlex.quote(str(folder / name))}")
    print(
        f"  modelpad predict reviews {shlex.quote(str(folder / 'reviews.csv'))} -o predictions.csv"
    )
    return DONE
