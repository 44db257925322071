"""What a version says of itself, as rows that can be put beside those of another version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelpad.bundle import Bundle
from modelpad.errors import BundleInvalid
from modelpad.fields import Label
from modelpad.foreign_json import Json
from modelpad.statistics import Interval
from modelpad.store import LocalStore, resolve_bundle
from modelpad.training.report_page import format_bytes, format_seconds

Facts = dict[str, str]
NOT_SETTINGS = ("data", "seconds", "python")


@dataclass(frozen=True, slots=True)
class Side:
    """A version, its card (empty if it has none), and where its data is, if that is known.

    `label` is what it is called: `digits@3`, or a bundle's folder.
    """

    label: str
    name: str
    version: int
    bundle: Bundle
    card: Mapping[str, Json]
    data: Path | None = None

    @property
    def metrics(self) -> Mapping[str, float]:
        """The metrics of its own evaluation."""
        return self.bundle.manifest.metrics

    def interval(self, metric: str) -> Interval | None:
        """The confidence interval of a metric, if the card has one."""
        intervals = self.card.get("intervals")
        ends = intervals.get(metric) if isinstance(intervals, dict) else None
        if not isinstance(ends, list) or len(ends) != 2:
            return None
        low, high = ends
        if not (isinstance(low, int | float) and isinstance(high, int | float)):
            return None
        return Interval(low, high)

    @property
    def trained_on(self) -> str:
        """The name of its training data, empty if unknown."""
        return str(self.bundle.manifest.training.get("data") or "")


def open_side(reference: str, store: LocalStore) -> Side:
    """The version that a reference names. Raises as `resolve_bundle`."""
    found = resolve_bundle(reference, store.root)
    try:
        card = found.bundle.read_card()
    except BundleInvalid:
        card = None  # the versions can be compared without it
    is_named = found.name == reference.partition("@")[0]
    return Side(
        f"{found.name}@{found.version}" if is_named else reference,
        found.name,
        found.version,
        found.bundle,
        card if isinstance(card, dict) else {},
        store.read_data(found.name, found.version),
    )


def list_settings(side: Side) -> Facts:
    """The settings of its training."""
    training = side.bundle.manifest.training
    return {
        name: _write(value)
        for name, value in training.items()
        if name not in NOT_SETTINGS and not isinstance(value, dict)
    }


def list_data(side: Side) -> Facts:
    """The data that it was trained and tested on."""
    rows = side.card.get("data")
    sets = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    facts = {"data": side.trained_on}
    for number, row in enumerate(sets, start=1):
        facts[f"data_set_{number}"] = f"{row.get('name')}: {row.get('role')}"
    return facts


def list_size_and_time(side: Side) -> Facts:
    """Parameters, bytes, seconds and dates."""
    manifest = side.bundle.manifest
    parameters, seconds = side.card.get("parameters"), manifest.training.get("seconds")
    total = sum(record.bytes for record in manifest.files.values())
    return {
        "parameters": f"{parameters:,}" if isinstance(parameters, int) else "",
        "graph": format_bytes(side.bundle.graph_bytes),
        "bundle": format_bytes(total),
        "training_time": format_seconds(seconds) if isinstance(seconds, int | float) else "",
        "created": manifest.created[:16].replace("T", " "),
    }


def list_interface(side: Side) -> Facts:
    """Task, inputs, outputs and classes, and what the model is made and run with."""
    manifest = side.bundle.manifest
    signature = manifest.signature
    classes = [each.classes for each in signature.outputs if isinstance(each, Label)]
    parity = manifest.parity or {}
    return {
        "task": manifest.task,
        "inputs": ", ".join(f"{each.name} ({each.kind})" for each in signature.inputs),
        "outputs": ", ".join(f"{each.name} ({each.kind})" for each in signature.outputs),
        "classes": "; ".join(_name_classes(each) for each in classes),
        "runs_in": manifest.runs_in,
        **{n: _write(value) for n, value in manifest.source.items() if n != "parameters"},
        "python": _write(manifest.training.get("python")),
        "parity": _write(parity.get("largest_difference")),
    }


def _name_classes(classes: Sequence[str]) -> str:
    listed = ", ".join(classes[:10])
    return f"{len(classes)}: {listed}{', …' if len(classes) > 10 else ''}"


def _write(value: Json) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(str(each) for each in value)
    return "" if value is None else str(value)
