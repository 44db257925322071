"""The report of a search: its trials as charts and as a table, in one HTML page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING

from modelpad.training.findings import Figure, Table
from modelpad.training.report_page import (
    format_seconds,
    render_figures,
    render_list,
    render_page,
    render_table,
    write_text,
)
from modelpad.tuning.command import describe_values, write_command
from modelpad.tuning.proposals import rank_options
from modelpad.tuning.search import REPORT

if TYPE_CHECKING:
    from modelpad.tuning.journal import TrialRecord
    from modelpad.tuning.search import Search


def tabulate_trials(search: Search) -> Table:
    """The trials, the best first."""
    order = ("finished", "pruned", "failed")
    ranked = sorted(search.records, key=lambda each: (order.index(each.state), each.loss))
    columns = ("trial", search.metric, *search.space, "time", "")
    return Table("Trials", columns, [tabulate_trial(each, search) for each in ranked])


def tabulate_trial(record: TrialRecord, search: Search) -> tuple[str, ...]:
    """A row of the table of trials."""
    tried = record.tried(search.space)
    return (
        str(record.number),
        f"{record.loss:.5f}" if record.losses else "",
        *(f"{tried[name]:g}" if name in tried else "default" for name in search.space),
        format_seconds(record.seconds),
        describe_state(record),
    )


def describe_state(record: TrialRecord) -> str:
    """How the trial ended, if early; or that its values are the recipe's own."""
    if record.state == "finished":
        return "" if record.values else "defaults"
    return f"pruned after epoch {len(record.losses)}" if record.state == "pruned" else "failed"


def tabulate_importance(search: Search) -> Table:
    """How much each option matters; empty if there are too few trials to say."""
    found = rank_options(search.space, search.records)
    return Table(
        "Which options matter",
        ("option", "share"),
        [(name, f"{100 * share:.0f} %") for name, share in found.items()],
        "The share of the differences between finished trials that each option explains, by"
        " functional ANOVA: a rough figure with so few of them.",
    )


def write_report(search: Search, name: str | None) -> None:
    """Writes `search.html` into the folder of the search; `name` is the model's, if given."""
    page = render_page(f"Search: {search.request.name}", render_parts(search, name))
    (search.folder / REPORT).write_text(page, "utf-8")


def render_parts(search: Search, name: str | None) -> Iterator[str]:
    """The parts of the page's body, in order."""
    best = search.best
    assert best is not None
    folder = search.name_folder(best.number).name
    title = search.request.name.replace("-", " ").capitalize()
    yield f"<h1>{write_text(title)}: search</h1>\n"
    yield f"<p>{write_text(search.write_note())}</p>\n"
    yield (
        f"<p>The best is trial {best.number}, with {write_text(describe_values(best.values))}:"
        f' <a href="{folder}/report.html">report of its model</a>, with the test.</p>\n'
        f"<p>Train it again: <code>{escape(write_command(search, best, name))}</code></p>\n"
    )
    yield render_figures("Validation", draw_search(search))
    yield render_table(tabulate_importance(search))
    yield render_table(keep_lines(tabulate_trials(search)))
    reasons = [f"Trial {each.number}: {each.reason}." for each in search.records if each.reason]
    yield render_list(reasons, "Failed trials")


def keep_lines(table: Table) -> Table:
    """The table with one line in each cell: it scrolls where the window is too narrow."""
    rows = [[cell.replace(" ", "\N{NO-BREAK SPACE}") for cell in row] for row in table.rows]
    return replace(table, rows=rows)


def draw_search(search: Search) -> list[Figure]:
    """The metric by trial, and by the value of each option."""
    from modelpad.tuning.figures import draw_option, draw_trials

    shown = [each for each in search.records if each.losses]
    usual = None if search.default is None else search.default.loss
    figures = [draw_trials(shown, search.metric, usual)]
    for name, each in search.space.items():
        tried = [record for record in shown if name in record.tried(search.space)]
        if tried:
            figures.append(draw_option(tried, name, each, search.metric, usual))
    return figures
