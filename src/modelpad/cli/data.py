"""`modelpad data NAME_OR_PATH`: what is in a data set, and a contact sheet of it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelpad.cli.main import DONE, add_common_options
from modelpad.cli.settings import Settings

if TYPE_CHECKING:
    from modelpad.datasets import DataSet

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
    if args.json:
        print(json.dumps(tell_facts(data) | {"sheet": str(sheet)}))
        return DONE
    for line in tell_data(data):
        print(line)
    print(f"Samples: {sheet}. Next: modelpad train digits --data {args.name}")
    return DONE


def tell_data(data: DataSet) -> list[str]:
    """What is in a data set, in lines for a person."""
    lines = [data.title, f"  {data.source}", f"  licence: {data.licence}"]
    for name, split in data.splits().items():
        shape = " x ".join(str(side) for side in split.shape)
        lines.append(f"  {name}: {len(split):,} images of {shape}")
        counts = data.count_classes(split).items()
        lines.append("    " + ", ".join(f"{label} {count:,}" for label, count in counts))
    lines += [f"  left out: {line}" for line in data.skipped[:5]]
    if len(data.skipped) > 5:
        lines.append(f"  left out: {len(data.skipped) - 5:,} more")
    return lines


def tell_facts(data: DataSet) -> dict[str, Any]:
    """The same for programs."""
    counts = {name: data.count_classes(split) for name, split in data.splits().items()}
    return {
        "name": data.name,
        "licence": data.licence,
        "source": data.source,
        "splits": counts,
        "shape": list(data.train.shape),
        "skipped": list(data.skipped),
    }


def show_progress(done: int, total: int) -> None:
    """One line that is written over."""
    sys.stderr.write(f"\r{done / 1e6:.1f} of {total / 1e6:.1f} MB" + "\n" * (done >= total))
    sys.stderr.flush()
