"""Both versions on the same held-out items: how many each gets right, and which items changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from modelpad.comparison.sides import Side
from modelpad.errors import DataSetInvalid, DataSetNotFound, InvalidInput, ModelpadError
from modelpad.feedback import find_label
from modelpad.fields import Field, Label
from modelpad.promotion.evaluation import Difference, Evaluated, differ, evaluate_bundle
from modelpad.promotion.held_out import (
    DataPlaces,
    HeldOut,
    check_classes,
    open_data,
    open_own_data,
)

LEVEL = 0.05
HINT = "Name labelled items that neither was trained on: --data DIR_OR_NAME"
Values = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Change:
    """An item that the two versions predict differently; None where a version rejects it."""

    index: int
    name: str
    label: str
    first: str | None
    second: str | None

    @property
    def kind(self) -> str:
        """`fixed` by the second version, `broken` by it, or `other`: both are wrong."""
        if self.second == self.label:
            return "fixed"
        return "broken" if self.first == self.label else "other"


@dataclass(frozen=True, slots=True)
class SameItems:
    """Two versions on the same items. `notes` say what is to be known about these."""

    held_out: HeldOut
    first: Evaluated
    second: Evaluated
    notes: tuple[str, ...] = ()

    @property
    def difference(self) -> Difference:
        """The items that only one version gets right; the second one is the candidate."""
        return differ(self.second, self.first)

    @property
    def changes(self) -> list[Change]:
        """What the second version predicts differently: fixed, broken, then both wrong."""
        rows = zip(self.first.truth, self.first.predicted, self.second.predicted, strict=True)
        found = [
            Change(index, self.held_out.name_item(index), label, first, second)
            for index, (label, first, second) in enumerate(rows)
            if first != second
        ]
        return sorted(found, key=lambda each: ("fixed", "broken", "other").index(each.kind))


def evaluate_both(
    first: Side,
    second: Side,
    given: str | None,
    places: DataPlaces,
    watch: Callable[[str], None],
) -> SameItems | str:
    """Runs both on the same items, or says in words why that is not possible.

    The items are those of the data set `given`, else of the test split that the second version was
    trained with, else the first. Raises as `open_data` if what is `given` cannot be read or does
    not fit the second version. `watch` is told what takes time.
    """
    try:
        label = find_label(second.bundle.manifest.signature)
        check_interfaces(first, second)
    except InvalidInput as error:
        return f"The versions cannot be compared on items: {error.message} {error.hint}".strip()
    notes: tuple[str, ...] = ()
    if given is not None:
        held_out = open_data(given, second.bundle.manifest.signature, label, places)
    else:
        found = _open_own(first, second, label, places)
        if isinstance(found, str):
            return found
        held_out, notes = found
    try:
        check_classes(held_out.name, {*held_out.truth}, find_label(first.bundle.manifest.signature))
        watch(f"Running both versions on {held_out.name}: {len(held_out.truth):,} items.")
        (left,) = evaluate_bundle(first.bundle, [held_out])
        (right,) = evaluate_bundle(second.bundle, [held_out])
    except ModelpadError as error:
        return f"The versions cannot be compared on {held_out.name}: {error.message}"
    return SameItems(held_out, left, right, notes)


def check_interfaces(first: Side, second: Side) -> None:
    """Raises `InvalidInput` unless both take the same inputs and predict one label each."""
    find_label(first.bundle.manifest.signature)
    kinds = [_list_inputs(each) for each in (first, second)]
    if kinds[0] != kinds[1]:
        raise InvalidInput(
            f"{first.label} takes {kinds[0]}, {second.label} takes {kinds[1]}.",
            expected=kinds[0],
            got=kinds[1],
        )


def _list_inputs(side: Side) -> str:
    fields: tuple[Field, ...] = side.bundle.manifest.signature.inputs
    return ", ".join(f"{each.name} ({each.kind})" for each in fields)


def _open_own(
    first: Side, second: Side, label: Label, places: DataPlaces
) -> tuple[HeldOut, tuple[str, ...]] | str:
    """The test split of what one of them was trained on, with what is to be known about it."""
    reasons = []
    for side, other in ((second, first), (first, second)):
        manifest = side.bundle.manifest
        try:
            held_out = open_own_data(
                manifest.training.get("data"), side.data, manifest.signature, label, places
            )
        except (DataSetNotFound, DataSetInvalid) as error:
            reasons.append(f"{side.label}: {error.message}")
            continue
        if side.trained_on == other.trained_on:
            return held_out, ()
        return held_out, (
            f"{other.label} was trained on other data, which may contain some of these items.",
        )
    return (
        "The versions were not run on the same items, so their metrics may be of different ones."
        f" {' '.join(dict.fromkeys(reasons))} {HINT}"
    )


def conclude(found: SameItems, first: str, second: str) -> str:
    """What McNemar's test says, in a sentence."""
    difference = found.difference
    if not found.changes:
        return f"{first} and {second} predict the same for every item."
    if difference.p >= LEVEL:
        return f"The difference may be chance (McNemar p = {difference.p:.2g})."
    better = second if difference.only_candidate > difference.only_baseline else first
    return f"{better} is better, and not by chance (McNemar p = {difference.p:.2g})."
