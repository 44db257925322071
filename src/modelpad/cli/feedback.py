"""`modelpad feedback`: the corrections that servers have collected."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelpad.cli.actions import start_actions
from modelpad.cli.listing import make_printable, print_table
from modelpad.cli.main import DONE, add_common_options, add_feedback_option
from modelpad.cli.settings import find_feedback
from modelpad.errors import ModelNotFound, UsageError, suggest_name

if TYPE_CHECKING:
    from modelpad.feedback import Entry, FeedbackStore

EXAMPLE = """examples:
  modelpad feedback --feedback ./feedback
  modelpad feedback export ./corrections --model digits
  modelpad feedback delete 0b7d1c6aa2f94e11
"""
MAX_TEXT_CHARS = 2000  # of an item, as shown


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the actions, each with the same options."""
    parser.epilog = EXAMPLE
    add = start_actions(parser, add_options, list_entries)
    listing = add("list", list_entries, "list the corrections")
    listing.epilog = "example:\n  modelpad feedback list --model digits"
    show = add("show", show_entry, "show one correction; its input goes to a file with -o")
    show.epilog = "example:\n  modelpad feedback show 0b7d1c6aa2f94e11 -o item.png"
    show.add_argument("id", metavar="ID", help="the correction's id, as listed")
    show.add_argument("-o", "--output", metavar="FILE", help="write the input to this new file")
    exporting = add("export", export, "write a data set: class folders of pictures, or CSV")
    exporting.epilog = "example:\n  modelpad feedback export ./corrections --model digits"
    exporting.add_argument("folder", metavar="DIR", help="where to write it; must not exist yet")
    delete = add("delete", delete_entries, "delete corrections; their bytes are overwritten")
    delete.epilog = "example:\n  modelpad feedback delete 0b7d1c6aa2f94e11"
    delete.add_argument("ids", metavar="ID", nargs="+", help="the corrections' ids, as listed")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--feedback`, `--model` and the common options."""
    add_feedback_option(parser)
    parser.add_argument("--model", metavar="NAME", help="only this model's (default: all)")
    add_common_options(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the action on the place of `--feedback` or `MODELPAD_FEEDBACK`."""
    code: int = args.action(open_store(args), args)
    return code


def open_store(args: argparse.Namespace) -> FeedbackStore:
    """The store to read. Raises `UsageError` if none is named."""
    from modelpad.feedback import FeedbackStore

    path = find_feedback(args, os.environ)
    if path is None:
        raise UsageError(
            "There is no place for feedback.",
            hint="Give --feedback DIR, as to modelpad serve, or set MODELPAD_FEEDBACK.",
        )
    return FeedbackStore(path)


def list_entries(store: FeedbackStore, args: argparse.Namespace) -> int:
    """Prints one line per correction."""
    entries = store.entries(args.model)
    if args.json:
        print(json.dumps({"corrections": [describe(entry) for entry in entries]}))
        return DONE
    if not entries:
        of = f" of {args.model}" if args.model else ""
        print(f"There are no corrections{of} yet.")
        return DONE
    rows = [("ID", "MODEL", "TIME (UTC)", "PREDICTED", "LABEL", "KB")]
    for entry in entries:
        time = entry.created[:16].replace("T", " ")
        size = f"{entry.bytes / 1024:.1f}"
        right = "right" if entry.is_right else entry.label
        named = f"{entry.model}@{entry.version}"
        rows.append((entry.id, named, time, entry.predicted, right, size))
    print_table(rows)
    wrong = sum(not entry.is_right for entry in entries)
    print(f"{len(entries):,} in all: {wrong:,} wrong, {len(entries) - wrong:,} right.")
    return DONE


def show_entry(store: FeedbackStore, args: argparse.Namespace) -> int:
    """Prints one correction; with `--output` writes its input to a file."""
    entry, item = store.find(args.id)
    output = getattr(args, "output", None)
    if output:
        write_new(Path(output), item.body)
    text = None if item.is_picture else item.body.decode("utf-8", "replace")
    if args.json:
        print(json.dumps(describe(entry) | {"item": text}))
        return DONE
    for name, value in asdict(entry).items():
        print(f"{name.replace('_', ' '):<11}{make_printable(str(value))}")
    if text is not None:
        print(f"{'input':<11}{make_printable(text[:MAX_TEXT_CHARS])}")
    return DONE


def export(store: FeedbackStore, args: argparse.Namespace) -> int:
    """Writes one model's corrections as a data set."""
    from modelpad.feedback import export_feedback

    model = choose_model(store, args.model)
    count = export_feedback(store.items(model), Path(args.folder))
    if args.json:
        print(json.dumps({"model": model, "count": count, "folder": args.folder}))
        return DONE
    print(f"Wrote {count:,} corrections of {model} to {args.folder}.")
    return DONE


def choose_model(store: FeedbackStore, given: str | None) -> str:
    """The named model, else the only one. Raises `UsageError` and `ModelNotFound`."""
    known = sorted({entry.model for entry in store.entries()})
    if given is None and len(known) > 1:
        raise UsageError(
            f"There are corrections of {len(known)} models: {', '.join(known)[:200]}.",
            hint=f"Name one: --model {known[0]}",
        )
    if not known or (given is not None and given not in known):
        of = f" of {given!r}" if given else ""
        hint = suggest_name(given or "", known) if known else "People give them on the page."
        raise ModelNotFound(f"There are no corrections{of}.", hint=hint, known=known)
    return given or known[0]


def delete_entries(store: FeedbackStore, args: argparse.Namespace) -> int:
    """Deletes corrections for good. Raises `NotFound` at the first unknown id."""
    for id in args.ids:
        store.delete(id)
    print(json.dumps({"deleted": args.ids}) if args.json else f"Deleted {', '.join(args.ids)}.")
    return DONE


def describe(entry: Entry) -> dict[str, Any]:
    """A correction as JSON."""
    return asdict(entry) | {"right": entry.is_right}


def write_new(path: Path, body: bytes) -> None:
    """Writes a file that does not exist yet. Raises `UsageError`."""
    try:
        with path.open("xb") as file:
            file.write(body)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}.", hint="Choose a new file: -o FILE"
        ) from error
