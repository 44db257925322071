"""The report of a run: one HTML page with everything inside, to be opened from disk or sent on."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path

from modelpad.foreign_json import Json
from modelpad.statistics import Interval
from modelpad.training.card import Card, list_warnings
from modelpad.training.findings import ClassScores, Figure, Findings, Table

STYLE = """
:root{color-scheme:light dark;--page:#fff;--ink:#1b1f24;--soft:#5d6672;--line:#d9dee5;
--card:#f5f7fa;--warn:#fff4d6;--warn-line:#e0a81e}
@media(prefers-color-scheme:dark){:root{--page:#14171b;--ink:#e4e7eb;--soft:#9aa4b1;--line:#333a43;
--card:#1d2127;--warn:#3a2f10;--warn-line:#b98a17}}
*{box-sizing:border-box}
body{font:16px/1.55 system-ui,sans-serif;max-width:64rem;margin:0 auto;padding:1.5rem 1rem 4rem;
background:var(--page);color:var(--ink)}
h1{font-size:1.7rem;margin:.2em 0}h2{font-size:1.2rem;margin:2.2rem 0 .6rem}
p{max-width:46rem;margin:.5rem 0}
.soft,figcaption{color:var(--soft)}
.warning{background:var(--warn);border-left:4px solid var(--warn-line);padding:.7rem 1rem;
border-radius:4px;font-weight:600;max-width:none}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.3rem 1.1rem .3rem 0;border-bottom:1px solid var(--line);
vertical-align:top}
th{font-weight:600;color:var(--soft);font-size:.85rem;white-space:nowrap}
td.number,th.number{text-align:right;white-space:nowrap}
td:first-child{min-width:8rem;overflow-wrap:anywhere}
@media(max-width:40rem){th,td{padding-right:.6rem}td:first-child{min-width:6rem}}
details{margin:1rem 0}summary{cursor:pointer;color:var(--soft)}
figure{margin:0;min-width:0}
.chart{display:flex;flex-wrap:wrap;gap:1rem 2rem}
.chart img{max-width:100%;height:auto}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(9rem,1fr));gap:1rem}
.gallery img{width:100%;aspect-ratio:1;object-fit:contain;background:var(--card);border-radius:6px}
.gallery img.small{image-rendering:pixelated}
figcaption{font-size:.85rem;line-height:1.35;overflow-wrap:anywhere}
figcaption small{display:block;opacity:.85;white-space:nowrap;
overflow:hidden;text-overflow:ellipsis}
"""
MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".svg": "image/svg+xml"}
NAMES = {"auc": "AUC", "f1": "F1", "mae": "MAE", "rmse": "RMSE", "r2": "R²", "map": "mAP"}


@dataclass(frozen=True, slots=True)
class Report:
    """The content of a report. `settings` are those of the training, with time and hardware."""

    name: str
    card: Card
    findings: Findings
    settings: Mapping[str, Json]


def write_report(folder: Path, report: Report) -> None:
    """Writes `report.html` and, for other uses, each of its figures into the run folder."""
    for figure in report.findings.figures:
        path = folder / figure.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(figure.content)
    (folder / "report.html").write_text(render_report(report), "utf-8")


def render_report(report: Report) -> str:
    """The page, which refers to no other file or address."""
    name = escape(report.name)
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>{name}</title>\n<style>{STYLE}</style>\n" + "".join(render_parts(report))
    )


def render_parts(report: Report) -> Iterator[str]:
    """The parts of the page's body, in order."""
    card, found = report.card, report.findings
    yield f"<h1>{escape(card.title or report.name)}</h1>\n"
    for warning in list_warnings(card, found):
        yield f'<p class="warning">{escape(warning)}</p>\n'
    sets = ", ".join(row.name for row in card.data)
    yield f"<p>{escape(card.summary)}{escape(f' Trained on {sets}.' if sets else '')}</p>\n"
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
    yield render_list([*card.notes], "Data and training")
    yield render_list([*card.limits], "Limitations")
    yield render_table(tabulate_settings(report.settings))


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


def tabulate_settings(settings: Mapping[str, Json]) -> Table:
    """Settings, time and hardware."""
    rows = [
        (name_metric(name), str(value))
        for name, value in settings.items()
        if value is not None and not isinstance(value, dict | list)
    ]
    return Table("Settings, time and hardware", ("", ""), rows)


def render_table(table: Table, *, below: bool = False) -> str:
    """A table in a box of its own that scrolls where the window is too narrow.

    `below` figures of its title, it has no heading and is folded.
    """
    if not table.rows:
        return ""
    numeric = [all(looks_numeric(row[n]) for row in table.rows) for n in range(len(table.columns))]
    sides = [' class="number"' * each for each in numeric]
    head = "".join(
        f"<th{side}>{escape(name)}" for name, side in zip(table.columns, sides, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{side}>{escape(cell)}" for cell, side in zip(row, sides, strict=True))
        + "\n"
        for row in table.rows
    )
    note = f'<p class="soft">{escape(table.note)}</p>\n' if table.note else ""
    head = f"<tr>{head}\n" if any(table.columns) else ""
    shown = f'{note}<div class="scroll"><table>{head}{body}</table></div>\n'
    if below:
        return (
            f"<details><summary>As a table, {len(table.rows):,} rows</summary>{shown}</details>\n"
        )
    return f"<h2>{escape(table.title)}</h2>\n{shown}"


def looks_numeric(cell: str) -> bool:
    """Whether a cell holds numbers, so that it is aligned to the right."""
    return not any(letter.isalpha() for letter in cell.replace(" to ", ""))


def render_list(lines: Sequence[str], title: str = "") -> str:
    """Sentences, each on its own."""
    if not lines:
        return ""
    head = f"<h2>{escape(title)}</h2>\n" if title else ""
    return head + "".join(f'<p class="soft">{escape(line)}</p>\n' for line in lines)


def render_figures(title: str, figures: Sequence[Figure]) -> str:
    """One chart, or pictures side by side, each with its caption and the name of its file."""
    charts = all(figure.path.endswith(".svg") for figure in figures)
    shape = "chart" if charts else "gallery"
    inside = "".join(render_figure(figure, named=not charts) for figure in figures)
    return f'<h2>{escape(title)}</h2>\n<div class="{shape}">\n{inside}</div>\n'


def render_figure(figure: Figure, *, named: bool) -> str:
    """A figure with its content as a data URI."""
    media_type = MEDIA_TYPES[Path(figure.path).suffix]
    content = base64.b64encode(figure.content).decode("ascii")
    small = ' class="small"' if media_type == "image/png" else ""
    alt, caption = escape(figure.alt), escape(figure.caption)
    if named:
        caption += f'<small title="{alt}">{alt}</small>'
    shown = f"<figcaption>{caption}</figcaption>" if caption else ""
    image = f'<img{small} src="data:{media_type};base64,{content}" alt="{alt}">'
    return f"<figure>{image}{shown}</figure>\n"


def name_metric(name: str) -> str:
    """`test_accuracy` as "Test accuracy", `test_auc` as "Test AUC"."""
    words = [NAMES.get(word, word) for word in name.split("_")]
    text = " ".join(words)
    return text[:1].upper() + text[1:]


def format_metric(name: str, value: float) -> str:
    """Accuracies as percentages, everything else as plain numbers."""
    return f"{100 * value:.2f} %" if name.endswith("accuracy") else f"{value:.4g}"


def format_interval(name: str, interval: Interval | None) -> str:
    """An interval in the format of its metric; empty if there is none."""
    if interval is None or math.isnan(interval.low):
        return ""
    if name.endswith("accuracy"):
        return f"{100 * interval.low:.1f} to {100 * interval.high:.1f} %"
    return f"{interval.low:.3f} to {interval.high:.3f}"
