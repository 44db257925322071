"""How `modelpad compare` shows a comparison: as a table of 60 characters, and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from modelpad.comparison import Comparison
from modelpad.comparison.comparison import FactRow, MetricRow
from modelpad.comparison.items import SameItems, conclude
from modelpad.comparison.report import write_accuracy
from modelpad.comparison.sides import Side
from modelpad.statistics import Interval, wilson
from modelpad.training.report_page import format_interval, format_metric, name_metric

if TYPE_CHECKING:
    from modelpad.promotion.evaluation import Evaluated

WIDTH, NAME_WIDTH = 60, 20  # characters of a line, and of its first column
CELL_WIDTH = (WIDTH - NAME_WIDTH - 4) // 2
MAX_LISTED = 5  # changed items of each kind; the page shows more
WORDS = {"fixed": "fixed", "broken": "broken", "other": "both wrong"}


def write_comparison(found: Comparison) -> Iterator[str]:
    """The comparison in lines of at most 60 characters, unless names are longer."""
    yield write_row("", found.first.label, found.second.label)
    for row in found.metrics:
        yield from write_metric(row)
    changed = [row for row in found.facts if row.changed]
    if changed:
        yield from ("", "Changed")
        for fact in changed:
            yield from write_fact(fact)
    same = [name_metric(row.name).lower() for row in found.facts if not row.changed]
    if same:
        yield from ("", *wrap(f"The same: {', '.join(same)}."))
    yield ""
    if isinstance(found.items, str):
        yield from wrap(found.items)
    else:
        yield from write_items(found.items, found)


def write_metric(row: MetricRow) -> Iterator[str]:
    """A metric, and its intervals in a line of their own."""
    values = [
        "" if value is None else format_metric(row.name, value) for value in (row.first, row.second)
    ]
    yield from write_named(name_metric(row.name), *values)
    intervals = [
        format_interval(row.name, each) for each in (row.first_interval, row.second_interval)
    ]
    if any(intervals):
        yield write_row("  95 % interval", *intervals)


def write_fact(row: FactRow) -> Iterator[str]:
    """A fact that changed; both values below each other where they are long."""
    if max(len(row.first), len(row.second)) <= CELL_WIDTH:
        yield from write_named(name_metric(row.name), row.first, row.second)
        return
    yield name_metric(row.name)
    for value in (row.first, row.second):
        yield from wrap(value or "(none)", "  ")


def write_items(same: SameItems, found: Comparison) -> Iterator[str]:
    """Both on the same items: accuracies, McNemar's test, and which items changed."""
    yield from wrap(f"{same.held_out.name}: {len(same.held_out.truth):,} items, run on both")
    cells = zip(write_accuracy(same.first), write_accuracy(same.second), strict=True)
    titles = ("Right", "Accuracy", "  95 % interval", "Balanced accuracy")
    for title, (left, right) in zip(titles, cells, strict=True):
        yield write_row(title, left, right)
    if same.first.rejected or same.second.rejected:
        yield write_row("Inputs rejected", f"{same.first.rejected:,}", f"{same.second.rejected:,}")
    difference = same.difference
    only = (f"{difference.only_baseline:,}", f"{difference.only_candidate:,}")
    yield write_row("Right in one only", *only)
    for line in (conclude(same, found.first.label, found.second.label), *same.notes):
        yield from wrap(line)
    changes = same.changes
    for kind, words in WORDS.items():
        chosen = [each for each in changes if each.kind == kind]
        for each in chosen[:MAX_LISTED]:
            predicted = f"{each.first or 'rejected'}, now {each.second or 'rejected'}"
            yield from wrap(f"{words}: {each.name} ({each.label}): {predicted}", "  ")
        if len(chosen) > MAX_LISTED:
            yield f"  {words}: {len(chosen) - MAX_LISTED:,} more"


def write_named(title: str, first: str, second: str) -> Iterator[str]:
    """A row; a long title has a line of its own."""
    if len(title) > NAME_WIDTH:
        yield from wrap(title)
        title = ""
    yield write_row(title, first, second)


def write_row(title: str, first: str, second: str) -> str:
    """Three columns; what is too long for its column is cut where it says least."""
    cells = (shorten(first, CELL_WIDTH).rjust(CELL_WIDTH) for first in (first, second))
    return "  ".join((shorten(title, NAME_WIDTH).ljust(NAME_WIDTH), *cells)).rstrip()


def shorten(text: str, length: int) -> str:
    """At most `length` characters; of `NAME@VERSION` the end is kept."""
    if len(text) <= length:
        return text
    tail = text[text.rindex("@") :] if "@" in text else ""
    return f"{text[: max(0, length - len(tail) - 1)]}…{tail}"


def wrap(text: str, indent: str = "") -> list[str]:
    """Lines of at most 60 characters."""
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent)


def describe(found: Comparison) -> dict[str, Any]:
    """The comparison as JSON."""
    record: dict[str, Any] = {
        "first": describe_side(found.first),
        "second": describe_side(found.second),
        "metrics": [describe_metric(row) for row in found.metrics],
        "facts": [
            {
                "section": row.section,
                "name": row.name,
                "first": row.first,
                "second": row.second,
                "changed": row.changed,
            }
            for row in found.facts
        ],
    }
    if isinstance(found.items, str):
        return record | {"items": None, "why_not": found.items}
    return record | {"items": describe_items(found.items)}


def describe_side(side: Side) -> dict[str, Any]:
    """A version as JSON."""
    manifest = side.bundle.manifest
    return {
        "name": side.name,
        "version": side.version,
        "created": manifest.created,
        "training": dict(manifest.training),
        "bytes": sum(record.bytes for record in manifest.files.values()),
    }


def describe_metric(row: MetricRow) -> dict[str, Any]:
    """A metric of both as JSON, null where one has none."""
    return {
        "name": row.name,
        "first": row.first,
        "second": row.second,
        "first_interval": list_ends(row.first_interval),
        "second_interval": list_ends(row.second_interval),
    }


def describe_items(same: SameItems) -> dict[str, Any]:
    """Both on the same items as JSON; `changed` are all items that they predict differently."""
    difference = same.difference
    return {
        "name": same.held_out.name,
        "items": len(same.held_out.truth),
        "first": describe_accuracy(same.first),
        "second": describe_accuracy(same.second),
        "mcnemar": {
            "only_first": difference.only_baseline,
            "only_second": difference.only_candidate,
            "p": difference.p,
        },
        "notes": list(same.notes),
        "changed": [
            {
                "item": each.name,
                "index": each.index,
                "label": each.label,
                "first": each.first,
                "second": each.second,
                "kind": each.kind,
            }
            for each in same.changes
        ],
    }


def describe_accuracy(found: Evaluated) -> dict[str, Any]:
    """How many items a version gets right."""
    return {
        "correct": found.correct,
        "rejected": found.rejected,
        "accuracy": float(found.accuracy),
        "interval": list_ends(wilson(found.correct, len(found.truth))),
        "balanced_accuracy": float(found.balanced_accuracy),
    }


def list_ends(interval: Interval | None) -> Sequence[float] | None:
    """An interval as [low, high]."""
    return None if interval is None else [interval.low, interval.high]
