"""The comparison as one HTML page with everything inside, like the report of a training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import islice
from typing import TYPE_CHECKING

from modelpad.comparison.comparison import SECTIONS, Comparison, FactRow, MetricRow
from modelpad.comparison.items import Change, SameItems, Values, conclude
from modelpad.feedback.items import PICTURE_KINDS
from modelpad.fields import Field
from modelpad.promotion.evaluation import Evaluated
from modelpad.statistics import Interval, wilson
from modelpad.training.findings import Figure, Table
from modelpad.training.report_page import (
    format_interval,
    format_metric,
    name_metric,
    render_figures,
    render_list,
    render_page,
    render_table,
    write_text,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TITLES = {
    "fixed": "Wrong before, right now",
    "broken": "Right before, wrong now",
    "other": "Both wrong, in different ways",
}
MAX_SHOWN = 24  # items of each kind
EXCERPT = 300  # characters of an item that is a text


def render_comparison(found: Comparison) -> str:
    """The page, which refers to no other file or address."""
    return render_page(f"{found.first.label} and {found.second.label}", render_parts(found))


def render_parts(found: Comparison) -> Iterator[str]:
    """The parts of the page's body, in order."""
    first, second = found.first.label, found.second.label
    yield f"<h1>{escape(first)} and {escape(second)}</h1>\n"
    for side in (found.first, found.second):
        manifest = side.bundle.manifest
        words = " ".join(
            filter(None, (f"{manifest.title}:" if manifest.title else "", manifest.summary))
        )
        yield f"<p><b>{escape(side.label)}</b> {write_text(words)}</p>\n"
    if isinstance(found.items, SameItems):
        yield from render_items(found.items, found)
    else:
        yield render_list([found.items], "On the same items")
    yield render_table(tabulate_metrics(found.metrics, first, second))
    for section in SECTIONS:
        yield render_facts(section, found.section(section), first, second)


def tabulate_metrics(metrics: Sequence[MetricRow], first: str, second: str) -> Table:
    """Each metric of both versions with its confidence interval, if it has one."""
    rows = [
        (
            name_metric(row.name),
            write_value(row.name, row.first, row.first_interval),
            write_value(row.name, row.second, row.second_interval),
        )
        for row in metrics
    ]
    note = "As each version was evaluated when it was made; in brackets 95 % intervals."
    return Table("Reported metrics", ("", first, second), rows, note)


def write_value(name: str, value: float | None, interval: Interval | None) -> str:
    """`99.10 % (98.9 to 99.3 %)`."""
    if value is None:
        return ""
    ends = format_interval(name, interval)
    return format_metric(name, value) + (f" ({ends})" if ends else "")


def render_facts(section: str, rows: Sequence[FactRow], first: str, second: str) -> str:
    """A table of facts; those that differ come first, in bold."""
    ordered = sorted(rows, key=lambda row: not row.changed)
    table = Table(
        section,
        ("", first, second),
        [(name_metric(row.name), row.first, row.second) for row in ordered],
    )
    return render_table(table, changed=range(sum(row.changed for row in rows)))


def render_items(same: SameItems, found: Comparison) -> Iterator[str]:
    """How both do on the same items, and those that changed."""
    first, second = found.first.label, found.second.label
    rows = [(first, *write_accuracy(same.first)), (second, *write_accuracy(same.second))]
    title = f"On the same items: {same.held_out.name}, {len(same.held_out.truth):,} items"
    columns = ("", "right", "accuracy", "95 % interval", "balanced accuracy")
    yield render_table(Table(title, columns, rows))
    yield render_list([conclude(same, first, second), *same.notes])
    changes = same.changes
    fields = found.second.bundle.manifest.signature.inputs
    for kind, title in TITLES.items():
        chosen = [each for each in changes if each.kind == kind]
        if chosen:
            yield from render_changes(title, chosen, same, fields)


def write_accuracy(found: Evaluated) -> tuple[str, str, str, str]:
    """Items that are right, accuracy, its interval and the balanced accuracy, in words."""
    interval = wilson(found.correct, len(found.truth))
    return (
        f"{found.correct:,}",
        f"{100 * float(found.accuracy):.2f} %",
        f"{100 * interval.low:.2f} to {100 * interval.high:.2f} %",
        f"{100 * float(found.balanced_accuracy):.2f} %",
    )


def render_changes(
    title: str, changes: Sequence[Change], same: SameItems, fields: tuple[Field, ...]
) -> Iterator[str]:
    """Items with both predictions: pictures, or the rows of a table."""
    shown = changes[:MAX_SHOWN]
    values = pick_values(same, {each.index for each in shown})
    head = f"{title}: {len(changes):,} {'item' if len(changes) == 1 else 'items'}"
    more = f"{len(shown)} of them are shown." if len(shown) < len(changes) else ""
    if len(fields) == 1 and fields[0].kind in PICTURE_KINDS:
        name = fields[0].name
        figures = [draw_item(each, values[each.index][name], name) for each in shown]
        yield render_figures(head, figures)
        yield render_list([more] if more else [])
        return
    rows = [
        (write_item(values[each.index]), each.label, each.first or "none", each.second or "none")
        for each in shown
    ]
    yield render_table(Table(head, ("item", "label", "before", "now"), rows, more))


def pick_values(same: SameItems, wanted: set[int]) -> dict[int, Values]:
    """The values of the items with these indices."""
    if not wanted:
        return {}
    items = islice(same.held_out.open_items(), max(wanted) + 1)
    return {index: values for index, values in enumerate(items) if index in wanted}


def draw_item(change: Change, value: object, field: str) -> Figure:
    """A picture with its label and both predictions."""
    from modelpad.training.evaluated import encode_tile

    content, suffix = encode_tile(read_pixels(value, field))
    caption = f"{change.label}: {change.first or 'rejected'}, now {change.second or 'rejected'}"
    return Figure(f"{change.index}.{suffix}", "", change.name, content, caption=caption)


def read_pixels(value: object, field: str) -> NDArray[np.uint8]:
    """A picture as it is shown: uint8 (H, W) or (H, W, 3); drawings as numbers black on white."""
    import numpy as np

    if isinstance(value, list):
        return 255 - np.asarray(value, np.uint8)
    from modelpad.fields.picture import read_picture

    return np.asarray(read_picture(value, field=field).convert("RGB"), np.uint8)


def write_item(values: Values) -> str:
    """A text, or the columns of a row."""
    if len(values) == 1:
        text = str(next(iter(values.values())))
    else:
        text = ", ".join(f"{name} {value}" for name, value in values.items())
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT else f"{line[: EXCERPT - 1]}…"
