"""`modelpad data NAME_OR_PATH`: what is in a data set, and a contact sheet of it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from modelpad.cli.main import DONE, add_common_options
from modelpad.cli.settings import Settings

EXAMPLE = """example:
  modelpad data mnist
  modelpad data ./my-digits --sheet my-digits.png
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.epilog = EXAMPLE
    parser.add_argument("name", metavar="NAME_OR_PATH", help="mnist, uci-digits, or a folder")
    parser.add_argument("--sheet", metavar="PNG", help="where the contact sheet goes")
    parser.add_argument(
        "--skip-unreadable", action="store_true", help="leave out images that cannot be read"
    )
    add_common_options(parser)


def run(args: argparse.Namespace) -> int:
    """Prints splits, classes and counts, and writes the contact sheet."""
    from modelpad.datasets import contact_sheet, load_data

    settings = Settings.from_environment(args)
    data = load_data(
        args.name,
        roots=settings.data_roots,
        cache=settings.cache,
        progress=show_progress if sys.stderr.isatty() else None,
        on_unreadable="skip" if args.skip_unreadable else "refuse",
    )
    sheet = Path(args.sheet or f"{data.name}-samples.png")
    sheet.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(data, sheet)
    splits = data.splits()
    if args.json:
        facts = {
            "name": data.name,
            "licence": data.licence,
            "source": data.source,
            "splits": {name: data.count_classes(split) for name, split in splits.items()},
            "shape": list(data.train.shape),
            "skipped": list(data.skipped),
            "sheet": str(sheet),
        }
        print(json.dumps(facts))
        return DONE
    print(f"{data.title}\n  {data.source}\n  licence: {data.licence}")
    for name, split in splits.items():
        shape = " x ".join(str(side) for side in split.shape)
        print(f"  {name}: {len(split):,} images of {shape}")
        counts = data.count_classes(split).items()
        print("    " + ", ".join(f"{label} {count:,}" for label, count in counts))
    for line in data.skipped[:5]:
        print(f"  left out: {line}")
    if len(data.skipped) > 5:
        print(f"  left out: {len(data.skipped) - 5:,} more")
    print(f"Samples: {sheet}. Next: modelpad train digits --data {args.name}")
    return DONE


def show_progress(done: int, total: int) -> None:
    """One line that is written over."""
    sys.stderr.write(f"\r{done / 1e6:.1f} of {total / 1e6:.1f} MB" + "\n" * (done >= total))
    sys.stderr.flush()
