"""The comparison of two versions, as rows for a table, a page and JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from modelpad.comparison.items import SameItems, evaluate_both
from modelpad.comparison.sides import (
    Facts,
    Side,
    list_data,
    list_interface,
    list_settings,
    list_size_and_time,
    open_side,
)
from modelpad.errors import UsageError
from modelpad.promotion.held_out import DataPlaces
from modelpad.statistics import Interval
from modelpad.store import LocalStore

SECTIONS: Mapping[str, Callable[[Side], Facts]] = {
    "Data": list_data,
    "Settings": list_settings,
    "Size and time": list_size_and_time,
    "Interface and software": list_interface,
}


@dataclass(frozen=True, slots=True)
class ComparisonRequest:
    """The two versions to compare: `NAME`, `NAME@VERSION`, `NAME@ALIAS` or a bundle's folder.

    `data` names the items that both are run on; by default a test split that can be found.
    """

    first: str
    second: str
    data: str | None = None
    places: DataPlaces = field(default_factory=DataPlaces)


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A metric of both versions, as each evaluation reported it; None where one has not."""

    name: str
    first: float | None
    second: float | None
    first_interval: Interval | None
    second_interval: Interval | None


@dataclass(frozen=True, slots=True)
class FactRow:
    """A setting or fact of both versions, in words; empty where one has none."""

    section: str
    name: str
    first: str
    second: str

    @property
    def changed(self) -> bool:
        """Whether they differ."""
        return self.first != self.second


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two versions side by side. `items` is a sentence where both could not be run on the same."""

    first: Side
    second: Side
    metrics: tuple[MetricRow, ...]
    facts: tuple[FactRow, ...]
    items: SameItems | str

    def section(self, name: str) -> list[FactRow]:
        """The facts of a section."""
        return [row for row in self.facts if row.section == name]


def compare(
    store: LocalStore, request: ComparisonRequest, watch: Callable[[str], None] = lambda _: None
) -> Comparison:
    """Puts two versions side by side, and runs both on the same held-out items if there are any.

    `watch` is told what takes time.

    Raises:
        UsageError: both references name the same version.
        ModelNotFound, VersionNotFound: there is no such version.
        BundleInvalid: a bundle is damaged.
        DataSetNotFound, DataSetInvalid: the data that was named is missing or does not fit.
    """
    first, second = open_side(request.first, store), open_side(request.second, store)
    if first.bundle.folder == second.bundle.folder:
        raise UsageError(
            f"{request.first} and {request.second} are the same version, {first.label}.",
            hint="Name two different ones. The versions are listed by: modelpad models",
        )
    names = dict.fromkeys([*first.metrics, *second.metrics])
    metrics = tuple(
        MetricRow(
            name,
            first.metrics.get(name),
            second.metrics.get(name),
            first.interval(name),
            second.interval(name),
        )
        for name in names
    )
    items = evaluate_both(first, second, request.data, request.places, watch)
    return Comparison(first, second, metrics, tuple(_list_facts(first, second)), items)


def _list_facts(first: Side, second: Side) -> list[FactRow]:
    rows = []
    for section, describe in SECTIONS.items():
        left, right = describe(first), describe(second)
        for name in dict.fromkeys([*left, *right]):
            row = FactRow(section, name, left.get(name, ""), right.get(name, ""))
            if row.first or row.second:
                rows.append(row)
    return rows
