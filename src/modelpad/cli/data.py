"""`modelpad data [NAME_OR_PATH]`: the named data sets, or what one contains."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modelpad.cli.main import DONE, add_common_options
from modelpad.cli.settings import Settings
from modelpad.errors import UsageError
from modelpad.recipes import RECIPES, load_recipe
from modelpad.recipes.naming import name_data

if TYPE_CHECKING:
    from modelpad.datasets import DataSet, InputKind, LoadOptions, Split

EXAMPLE = """examples:
  modelpad data
  modelpad data mnist
  modelpad data ./photographs --sheet photographs.png
  modelpad data reviews.csv --target-column stars --task regression
  modelpad data photographs.zip --sha256 9f86d081...
"""
NAMED_CLASSES = 50
NAMED_SKIPPED = 5


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.epilog = EXAMPLE
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME_OR_PATH",
        help="a named data set, a folder, a table (CSV, TSV, JSON Lines) or an archive;"
        " without it, the named data sets are listed",
    )
    parser.add_argument(
        "--sheet",
        metavar="PNG",
        help="file for the contact sheet (default: named after the data set)",
    )
    parser.add_argument(
        "--skip-unreadable", action="store_true", help="skip images that cannot be read"
    )
    parser.add_argument(
        "--input-column", metavar="NAME", help="the table's column of texts or image file names"
    )
    parser.add_argument(
        "--target-column",
        action="append",
        default=[],
        metavar="NAME",
        help="the table's column to predict; repeatable",
    )
    parser.add_argument(
        "--task",
        choices=("classification", "multi-label", "regression", "unlabelled"),
        metavar="TASK",
        help="classification, multi-label, regression or unlabelled",
    )
    parser.add_argument(
        "--group",
        metavar="COLUMN",
        help="the table's column of groups, such as patients, that no split may divide",
    )
    parser.add_argument(
        "--sha256", metavar="HEX", help="reject the file unless its SHA-256 matches"
    )
    add_common_options(parser)


def run(args: argparse.Namespace) -> int:
    """Lists the named data sets, or describes one and writes its contact sheet."""
    settings = Settings.from_environment(args)
    if args.name is None:
        return list_data_sets(settings, as_json=args.json)
    from modelpad.datasets import load_data
    from modelpad.training.data_progress import ProgressPrinter

    with ProgressPrinter(sys.stderr, live=sys.stderr.isatty() and not args.json) as progress:
        data = load_data(
            args.name,
            roots=settings.data_roots,
            cache=settings.cache,
            progress=progress,
            on_unreadable="skip" if args.skip_unreadable else "refuse",
            options=read_options(args),
        )
    sheet = write_sheet(data, args.sheet)
    facts = collect_facts(data)
    if args.json:
        print(json.dumps(facts | {"sheet": None if sheet is None else str(sheet)}))
        return DONE
    for line in describe_data(data, facts):
        print(line)
    if sheet is not None:
        print(f"Samples: {sheet}.")
    command = suggest_training(data, args)
    if command:
        print(f"Next: {command}")
    return DONE


def suggest_training(data: DataSet, args: argparse.Namespace) -> str:
    """The command that trains on the data, under a name that no built-in model has; else ""."""
    from modelpad.datasets import CATALOGUE, TextInput
    from modelpad.zoo import zoo_bundles

    if args.name in CATALOGUE:
        recipes = (load_recipe(name) for name in RECIPES)
        recipe = next((each.name for each in recipes if args.name in each.data_sets), "")
        return recipe and f"modelpad train {recipe} --data {args.name}"
    name = name_data(args.name)
    shadows = name in zoo_bundles()
    options = {"--name": f"my-{name}" if shadows else ""}
    recipe = "images"
    if isinstance(data.train.kind, TextInput):
        recipe = {"classification": "reviews", "unlabelled": "writer"}.get(data.task, "")
        options["--name"] = options["--name"] or name
        options |= {"--text-column": args.input_column, "--label-column": only(args.target_column)}
    elif data.task == "unlabelled":
        recipe = ""
    else:
        options |= {"--input-column": args.input_column, "--group": args.group}
        options |= {"--target-column": only(args.target_column)}
    kind = {"multi-label": " --multi-label", "regression": " --regression"}.get(data.task, "")
    given = "".join(f" {key} {shlex.quote(value)}" for key, value in options.items() if value)
    return recipe and f"modelpad train {recipe} {shlex.quote(args.name)}{kind}{given}"


def only(names: Sequence[str]) -> str:
    """The only name, else "": a list that training would not take."""
    return names[0] if len(names) == 1 else ""


def read_options(args: argparse.Namespace) -> LoadOptions:
    """The options for reading a table or archive."""
    from modelpad.datasets import LoadOptions, TableOptions

    table = TableOptions(args.input_column, tuple(args.target_column), args.task, args.group)
    return LoadOptions(table=table, sha256=args.sha256)


def write_sheet(data: DataSet, wanted: str | None) -> Path | None:
    """Writes the contact sheet and returns its path; None for texts. Raises UsageError."""
    from modelpad.datasets import TextInput, contact_sheet

    if isinstance(data.train.kind, TextInput):
        if wanted is not None:
            raise UsageError(
                f"{data.name} contains texts, and a contact sheet needs images.",
                hint="Omit --sheet.",
            )
        return None
    return contact_sheet(data, Path(wanted or f"{data.name}-samples.png"))


def list_data_sets(settings: Settings, *, as_json: bool) -> int:
    """Prints the named data sets, and which of them are on this machine."""
    facts = collect_catalogue(settings)
    if as_json:
        print(json.dumps(facts))
        return DONE
    for name, entry in facts.items():
        print(f"{name:<12}{entry['title']}")
        print(f"{'':<12}{entry['state']}")
    print("Next: modelpad data NAME, or the path of a folder, table or archive.")
    return DONE


def collect_catalogue(settings: Settings) -> dict[str, dict[str, str | None]]:
    """Title, licence, source, folder and state of every named data set."""
    from modelpad.datasets import CATALOGUE, find_data_set
    from modelpad.training.data_progress import format_bytes

    facts: dict[str, dict[str, str | None]] = {}
    for name, entry in sorted(CATALOGUE.items()):
        folder = find_data_set(entry, settings.data_roots, settings.cache)
        if not entry.layout:
            state = "comes with scikit-learn (the train extra)"
        elif folder is not None:
            state = f"in {folder}"
        elif entry.mirrors:
            state = f"not here; downloaded on first use, {format_bytes(entry.download_bytes)}"
        else:
            state = f"not here; put {entry.layout} into a folder {name}/ inside MODELPAD_DATA"
        facts[name] = {
            "title": entry.title,
            "licence": entry.licence,
            "source": entry.source,
            "folder": None if folder is None else str(folder),
            "state": state,
        }
    return facts


def collect_facts(data: DataSet) -> dict[str, object]:
    """The facts of a data set, as JSON."""
    from modelpad.datasets import checksum_files

    base = data.location
    if base is not None and not base.is_dir():
        base = base.parent
    splits = data.splits().items()
    location = None if data.location is None else str(data.location)
    return {
        "name": data.name,
        "title": data.title,
        "licence": data.licence,
        "source": data.source,
        "location": location,
        "task": data.task,
        "counts": {name: len(split) for name, split in splits},
        "splits": {name: data.count_classes(split) for name, split in splits},
        "values": {name: describe_values(data, split) for name, split in splits},
        "groups": {
            name: len(set(split.groups.tolist()))
            for name, split in splits
            if split.groups is not None
        },
        "input": {name: describe_kind(split.kind) for name, split in splits},
        "files": len(data.files),
        "disk_bytes": sum(path.stat().st_size for path in data.files),
        "sha256": None if base is None else checksum_files(data.files, base),
        "verified": data.verified,
        "skipped": list(data.skipped),
        "notes": list(data.notes),
    }


def describe_kind(kind: InputKind) -> dict[str, object]:
    """What the inputs are, as JSON."""
    from modelpad.datasets import TextInput

    if isinstance(kind, TextInput):
        return {"kind": "text"}
    sides = {"height": kind.height, "width": kind.width}
    return {"kind": "image", **sides, "channels": kind.channels}


def describe_values(data: DataSet, split: Split) -> dict[str, list[float]]:
    """The smallest and largest value of each target of a regression."""
    if not len(split):
        return {}
    return {
        name: [float(split.targets[:, place].min()), float(split.targets[:, place].max())]
        for place, name in enumerate(data.value_names)
    }


def describe_data(data: DataSet, facts: Mapping[str, object]) -> list[str]:
    """The facts of a data set, as lines of text."""
    from modelpad.training.data_progress import format_bytes

    lines = [data.title, f"  source: {data.source}", f"  licence: {data.licence}"]
    if data.files:
        size = format_bytes(float(str(facts["disk_bytes"])))
        count = len(data.files)
        lines.append(f"  on disk: {size}, {count:,} file{'s' * (count != 1)} in {data.location}")
        lines.append(f"  SHA-256 of the list of files: {facts['sha256']}")
    if data.verified:
        lines.append("  verified: the content has the expected SHA-256")
    for name, split in data.splits().items():
        lines.append(f"  {name}: {len(split):,} {describe_inputs(split)}")
        if split.groups is not None:
            lines.append(f"    in {len(set(split.groups.tolist())):,} groups")
        classes = data.count_classes(split)
        if classes:
            shown = [f"{label} {count:,}" for label, count in list(classes.items())[:NAMED_CLASSES]]
            more = len(classes) - len(shown)
            lines.append("    " + ", ".join(shown) + f", and {more:,} more classes" * bool(more))
        for value, (low, high) in describe_values(data, split).items():
            lines.append(f"    {value}: from {low:g} to {high:g}")
    lines += [f"  {note}" for note in data.notes]
    lines += [f"  skipped: {line}" for line in data.skipped[:NAMED_SKIPPED]]
    if len(data.skipped) > NAMED_SKIPPED:
        lines.append(f"  skipped: {len(data.skipped) - NAMED_SKIPPED:,} more")
    return lines


def describe_inputs(split: Split) -> str:
    """`images, 28 x 28, grey`, `texts`, or the range of sizes if they vary."""
    from modelpad.datasets import ImageFiles, ImageInput

    kind = split.kind
    if not isinstance(kind, ImageInput):
        return "texts"
    colour = "grey" if kind.channels == 1 else "RGB"
    if kind.height is not None:
        return f"images, {kind.width} x {kind.height}, {colour}"
    if not isinstance(split.inputs, ImageFiles) or not len(split):
        return "images"
    (low_h, low_w), (high_h, high_w) = split.inputs.sizes.min(0), split.inputs.sizes.max(0)
    return f"images, {low_w} to {high_w} wide, {low_h} to {high_h} high, {colour}"
