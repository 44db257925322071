"""A model's card as HTML for notebooks: what it does, how well, and what to know first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING

from modelpad.errors import BundleInvalid
from modelpad.foreign_json import Json

if TYPE_CHECKING:
    from modelpad.bundle import Bundle
    from modelpad.fields import Field

CELL = "text-align:left;padding:.1em 1em .1em 0;vertical-align:top"
WARNING = "border-left:3px solid #d97706;padding-left:.6em"


def read_card(bundle: Bundle) -> Mapping[str, Json]:
    """The card of a bundle; empty if it has none, or one that cannot be read."""
    try:
        card = bundle.read_card()
    except BundleInvalid:
        return {}
    return card if isinstance(card, dict) else {}


def write_card(name: str, version: int, bundle: Bundle) -> str:
    """The card as HTML, all of whose texts are escaped: a bundle may come from anyone."""
    return f"<div>{''.join(_write_parts(name, version, bundle, read_card(bundle)))}</div>"


def _write_parts(
    name: str, version: int, bundle: Bundle, card: Mapping[str, Json]
) -> Iterator[str]:
    manifest = bundle.manifest
    yield f"<p><b>{escape(manifest.title or name)}</b> &middot; {escape(name)} version {version}"
    yield f"<br>{escape(manifest.summary)}</p>" if manifest.summary else "</p>"
    for warning in _texts(card, "warnings"):
        yield f'<p style="{WARNING}">{escape(warning)}</p>'
    rows = [("Input", _describe_fields(manifest.signature.inputs))]
    rows.append(("Output", _describe_fields(manifest.signature.outputs)))
    rows += list_metrics(manifest.metrics)
    if manifest.licence:
        rows.append(("Licence", manifest.licence))
    yield write_table(rows)
    limits = _texts(card, "limits")
    if limits:
        items = "".join(f"<li>{escape(limit)}</li>" for limit in limits)
        yield f"<details><summary>Known limits</summary><ul>{items}</ul></details>"


def list_metrics(metrics: Mapping[str, float]) -> list[tuple[str, str]]:
    """The metrics for people: `("Test accuracy", "99.65 %")`."""
    from modelpad.training.report_page import format_metric, name_metric

    return [(name_metric(name), format_metric(name, value)) for name, value in metrics.items()]


def write_table(rows: list[tuple[str, str]]) -> str:
    """Rows of a name and a text as an HTML table."""
    cells = (
        f'<tr><td style="{CELL}">{escape(name)}</td><td style="{CELL}">{escape(text)}</td></tr>'
        for name, text in rows
    )
    return f"<table>{''.join(cells)}</table>"


def _describe_fields(fields: Iterable[Field]) -> str:
    return ", ".join(f"{field.name} ({field.kind})" for field in fields)


def _texts(card: Mapping[str, Json], key: str) -> list[str]:
    found = card.get(key)
    return [str(each) for each in found] if isinstance(found, list) else []
