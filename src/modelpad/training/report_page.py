"""The parts that reports are made of: a page with its style, tables, figures, sentences, numbers.

A page refers to no other file: pictures are in it as data URIs. It knows nothing of trainings.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from modelpad.statistics import Interval
from modelpad.training.findings import Figure, Table

# The colours are those of the web page; see docs/design.md.
STYLE = """
:root{color-scheme:light dark;--paper:#f6f5f1;--card:#fff;--ink:#1b1a22;--soft:#5d5b69;
--line:#e2dfd6;--accent:#4f46e5;--warn:#fff4d6;--warn-line:#d99a10}
@media(prefers-color-scheme:dark){:root{--paper:#131218;--card:#1d1c24;--ink:#f1eff7;
--soft:#a9a6b8;--line:#34323f;--accent:#8f88ff;--warn:#352b0e;--warn-line:#d9a52b}}
*{box-sizing:border-box}
body{font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif;max-width:64rem;margin:0 auto;
padding:1.5rem 1rem 4rem;background:var(--paper);color:var(--ink)}
h1,h2{line-height:1.2;letter-spacing:-.02em;text-wrap:balance}
h1{font-size:1.8rem;margin:.2em 0}h2{font-size:1.2rem;margin:2.4rem 0 .7rem}
p{max-width:46rem;margin:.5rem 0}a{color:var(--accent)}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
code{font:.88em ui-monospace,Menlo,Consolas,monospace;overflow-wrap:anywhere}
.soft,figcaption{color:var(--soft)}
.warning{background:var(--warn);border-left:4px solid var(--warn-line);padding:.7rem 1rem;
border-radius:4px;font-weight:600;max-width:none}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.35rem 1.1rem .35rem 0;border-bottom:1px solid var(--line);
vertical-align:top}
thead th{font-weight:600;color:var(--soft);font-size:.85rem;white-space:nowrap}
tbody th{font-weight:400}
.names tbody th{min-width:18ch;overflow-wrap:anywhere}
.texts tbody th{min-width:26ch;overflow-wrap:anywhere}
.number{text-align:right;white-space:nowrap}
.changed th,.changed td{font-weight:600}
@media(max-width:40rem){th,td{padding-right:.7rem}}
details{margin:1rem 0}summary{cursor:pointer;color:var(--soft)}
figure{margin:0;min-width:0}
.chart{display:flex;flex-wrap:wrap;gap:1rem 2rem}
.chart img{max-width:100%;height:auto}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(9rem,1fr));gap:1.25rem 1rem}
.gallery img{width:100%;aspect-ratio:1;object-fit:contain;background:var(--card);
border-radius:10px}
.gallery img.small{image-rendering:pixelated}
figcaption{font-size:.88rem;line-height:1.35;overflow-wrap:anywhere;margin-top:.3rem}
figcaption small{display:block;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
@media print{body{max-width:none}figure,tr{break-inside:avoid}}
"""
MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".svg": "image/svg+xml"}
NAMES = {"auc": "AUC", "f1": "F1", "mae": "MAE", "rmse": "RMSE", "r2": "R²", "map": "mAP"}
AT_SPECIFICITY = re.compile(r"at (\d+) specificity")
LONG_WORD, LONG_CELL = 18, 60  # characters: of a word that may be broken; of a cell that is a text


def render_page(title: str, parts: Iterable[str]) -> str:
    """The whole page of these parts of its body."""
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n<main>\n"
        + "".join(parts)
        + "</main>\n"
    )


def render_table(table: Table, *, below: bool = False, changed: Sequence[int] = ()) -> str:
    """A table in a box of its own that scrolls where the window is too narrow.

    `below` figures of its title, it has no heading and is folded. The rows `changed` are bold.
    """
    if not table.rows:
        return ""
    numeric = [all(looks_numeric(row[n]) for row in table.rows) for n in range(len(table.columns))]
    sides = [' class="number"' * each for each in numeric]
    head = "".join(
        f'<th scope="col"{side}>{write_text(name)}</th>' if name else "<td></td>"
        for name, side in zip(table.columns, sides, strict=True)
    )
    head = f"<thead><tr>{head}</tr></thead>\n" if any(table.columns) else ""
    body = "".join(
        f"<tr{' class=changed' if number in changed else ''}>"
        f'<th scope="row">{write_text(row[0])}</th>'
        + "".join(
            f"<td{side}>{write_text(cell)}</td>"
            for cell, side in zip(row[1:], sides[1:], strict=True)
        )
        + "</tr>\n"
        for number, row in enumerate(table.rows)
    )
    note = f'<p class="soft">{write_text(table.note)}</p>\n' if table.note else ""
    shown = (
        f'{note}<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.title)}">'
        f'<table class="{describe_first(table)}">{head}<tbody>{body}</tbody></table>'
        "</div>\n"
    )
    if below:
        return (
            f"<details><summary>As a table, {len(table.rows):,} rows</summary>{shown}</details>\n"
        )
    return f"<h2>{write_text(table.title)}</h2>\n{shown}"


def describe_first(table: Table) -> str:
    """What the first column has: `texts`, `names` so long that they must be broken, or `words`."""
    cells = [row[0] for row in table.rows]
    if max(map(len, cells)) > LONG_CELL:
        return "texts"
    longest = max((len(word) for cell in cells for word in cell.split()), default=0)
    return "names" if longest > LONG_WORD else "words"


def looks_numeric(cell: str) -> bool:
    """Whether a cell holds numbers, so that it is aligned to the right."""
    return not any(letter.isalpha() for letter in cell.replace(" to ", ""))


def render_list(lines: Sequence[str], title: str = "") -> str:
    """Sentences, each on its own."""
    if not lines:
        return ""
    head = f"<h2>{write_text(title)}</h2>\n" if title else ""
    return head + "".join(f'<p class="soft">{write_text(line)}</p>\n' for line in lines)


def render_warnings(lines: Iterable[str]) -> str:
    """Sentences that nobody should miss."""
    return "".join(f'<p class="warning">{write_text(line)}</p>\n' for line in lines)


def render_figures(title: str, figures: Sequence[Figure]) -> str:
    """One chart, or pictures side by side, each with its caption and the name of its file."""
    charts = all(figure.path.endswith(".svg") for figure in figures)
    shape = "chart" if charts else "gallery"
    inside = "".join(render_figure(figure, named=not charts) for figure in figures)
    return f'<h2>{write_text(title)}</h2>\n<div class="{shape}">\n{inside}</div>\n'


def render_figure(figure: Figure, *, named: bool) -> str:
    """A figure with its content as a data URI."""
    media_type = MEDIA_TYPES[Path(figure.path).suffix]
    content = base64.b64encode(figure.content).decode("ascii")
    small = ' class="small"' if media_type == "image/png" else ""
    alt, caption = escape(figure.alt), write_text(figure.caption)
    if named:
        caption += f'<small title="{alt}">{alt}</small>'
    shown = f"<figcaption>{caption}</figcaption>" if caption else ""
    image = f'<img{small} src="data:{media_type};base64,{content}" alt="{alt}">'
    return f"<figure>{image}{shown}</figure>\n"


def write_text(text: str) -> str:
    """A text in HTML; a percentage stays in one line."""
    return escape(text.replace(" %", "\N{NO-BREAK SPACE}%"))


def name_metric(name: str) -> str:
    """`test_accuracy` as "Test accuracy", `cross_validated_auc` as "Cross-validated AUC"."""
    plain = name.replace("cross_validated", "cross-validated")
    text = " ".join(NAMES.get(word, word) for word in plain.split("_"))
    text = AT_SPECIFICITY.sub(r"at \1 % specificity", text)
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


def format_seconds(seconds: float) -> str:
    """`8.1 s`, `33 s`, `2 min 5 s` or `1 h 6 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {left} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def format_bytes(size: int) -> str:
    """`12 kB` or `3.4 MB`, in powers of 1000."""
    if size < 1_000_000:
        return f"{math.ceil(size / 1000):,} kB"
    return f"{size / 1e6:,.1f} MB"
