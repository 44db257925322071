"""The report of a run: one HTML page with everything inside, to be opened from disk or sent on."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import groupby
from pathlib import Path

from modelpad.foreign_json import Json
from modelpad.training.card import Card, list_warnings
from modelpad.training.findings import ClassScores, Findings, Table
from modelpad.training.report_page import (
    format_interval,
    format_metric,
    name_metric,
    render_figures,
    render_list,
    render_page,
    render_table,
    render_warnings,
    write_text,
)

TENSORBOARD = "http://localhost:6006"  # where `tensorboard` shows what it is given


@dataclass(frozen=True, slots=True)
class Report:
    """The content of a report.

    `settings` are those of the training, `facts` its time, hardware and software. `logs` is the
    folder of TensorBoard's logs, beside the report, if there are any.
    """

    name: str
    card: Card
    findings: Findings
    settings: Mapping[str, Json]
    facts: Mapping[str, Json] = field(default_factory=dict)
    logs: Path | None = None


def write_report(folder: Path, report: Report) -> None:
    """Writes `report.html` and, for other uses, each of its figures into the run folder."""
    for figure in report.findings.figures:
        path = folder / figure.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(figure.content)
    (folder / "report.html").write_text(render_report(report), "utf-8")


def render_report(report: Report) -> str:
    """The page, which needs no other file; it only links to the logs beside it."""
    return render_page(report.name, render_parts(report))


def render_parts(report: Report) -> Iterator[str]:
    """The parts of the page's body, in order."""
    card, found = report.card, report.findings
    yield f"<h1>{write_text(card.title or report.name)}</h1>\n"
    yield render_warnings(list_warnings(card, found))
    sets = ", ".join(row.name for row in card.data)
    yield f"<p>{write_text(card.summary + (f' Trained on {sets}.' if sets else ''))}</p>\n"
    yield f"<p>Serve it: <code>modelpad serve {escape(report.name)}</code></p>\n"
    yield render_table(tabulate_metrics(found))
    yield render_list(found.notes)
    if found.class_scores:
        yield render_table(tabulate_classes(found.class_scores))
    titles = {each.title for each in found.figures}
    for table in found.tables:
        if table.title not in titles:
            yield render_table(table)
    for title, group in groupby(found.figures, key=lambda each: each.title):
        yield render_figures(title, list(group))
        yield from (render_table(each, below=True) for each in found.tables if each.title == title)
    if report.logs is not None:
        yield render_logs(report.logs)
    yield render_list([*card.notes], "Data and training")
    yield render_list([*card.limits], "Limitations")
    yield render_table(tabulate("Settings", report.settings))
    yield render_table(tabulate("Time and hardware", report.facts))


def render_logs(logs: Path) -> str:
    """How to see the curves in TensorBoard, which follows them while a model is trained."""
    command = f"tensorboard --logdir {shlex.quote(str(logs))}"
    return (
        "<p>In TensorBoard, also while it trains:"
        f" <code>{escape(command)}</code>, then open"
        f' <a href="{TENSORBOARD}">{TENSORBOARD}</a>. Beside this file are the events,'
        f' <a href="{escape(logs.name)}/">{escape(logs.name)}/</a>, and the numbers of each epoch,'
        ' <a href="history.csv">history.csv</a>.</p>\n'
    )


def tabulate_metrics(found: Findings) -> Table:
    """Each metric with its confidence interval, if it has one."""
    rows = [
        (
            name_metric(name),
            format_metric(name, value),
            format_interval(name, found.intervals.get(name)),
        )
        for name, value in found.metrics.items()
    ]
    return Table("Results", ("", "value", "95 % interval"), rows)


def tabulate_classes(classes: Sequence[ClassScores]) -> Table:
    """Precision, recall, F1, area under the ROC curve and number of items of each class."""
    rows = [
        (
            each.name,
            f"{each.precision:.3f}",
            f"{each.recall:.3f}",
            f"{each.f1:.3f}",
            "" if math.isnan(each.auc) else f"{each.auc:.3f}",
            format_interval("auc", each.auc_interval),
            f"{each.support:,}",
        )
        for each in classes
    ]
    columns = ("class", "precision", "recall", "F1", "AUC", "95 % interval", "items")
    return Table("By class", columns, rows)


def tabulate(title: str, facts: Mapping[str, Json]) -> Table:
    """Settings or facts by name; those that were left open are left out."""
    rows = [
        (name_metric(name), write_fact(value))
        for name, value in facts.items()
        if not isinstance(value, dict) and value not in (None, "", [])
    ]
    return Table(title, ("", ""), rows)


def write_fact(value: Json) -> str:
    """A setting or a fact in words: `yes` instead of `True`."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(str(each) for each in value)
    return str(value)
