"""The report of a run: an HTML page with figures, to be opened from disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from modelpad.training.card import Card

STYLE = (
    "body{font:16px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "img{max-width:100%}td{padding:.1rem 1rem .1rem 0}"
)


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of the report: PNG or SVG at `path` in the run folder.

    `in_bundle` also includes it in the bundle, for the model's web page.
    """

    path: str
    title: str
    alt: str
    content: bytes
    in_bundle: bool = False


def write_report(
    folder: Path, card: Card, metrics: Mapping[str, float], figures: Sequence[Figure]
) -> None:
    """Writes `report.html` and its figures into the run folder."""
    for figure in figures:
        path = folder / figure.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(figure.content)
    rows = "".join(
        f"<tr><td>{escape(name_metric(name))}<td>{format_metric(name, value)}"
        for name, value in metrics.items()
    )
    sets = ", ".join(escape(row.name) for row in card.data)
    notes = "".join(f"<li>{escape(note)}" for note in card.notes)
    pictures = "".join(
        f'<h2>{escape(each.title)}</h2><img src="{each.path}" alt="{escape(each.alt)}">\n'
        for each in figures
    )
    (folder / "report.html").write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>{escape(folder.name)}</title>\n<style>{STYLE}</style>\n"
        f"<h1>{escape(folder.name)}</h1>\n<p>{escape(card.summary)} Trained on {sets}.</p>\n"
        f"<table>{rows}</table>\n<ul>{notes}</ul>\n{pictures}</html>\n",
        "utf-8",
    )


def name_metric(name: str) -> str:
    """`test_accuracy` as "Test accuracy"."""
    return name.replace("_", " ").capitalize()


def format_metric(name: str, value: float) -> str:
    """Accuracies as percentages, everything else as plain numbers."""
    return f"{100 * value:.2f} %" if name.endswith("accuracy") else f"{value:.4g}"
