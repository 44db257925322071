"""Keeps copies of a picture on one side of every split and fold, and says which they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from modelpad.datasets import DataSet, Duplicates, Split, find_duplicates
from modelpad.datasets.inputs import join_inputs
from modelpad.training.findings import Findings, Table
from modelpad.training.run import Run

TITLE = "Duplicates"
MOST = 0.5  # of all pictures: where more look like others, they show one scene
MAX_LISTED = 100

Sets = tuple[tuple[int, ...], ...]


def separate_duplicates(data: DataSet, run: Run) -> tuple[DataSet, Findings]:
    """The data set with duplicates in one group, and what the report says about them.

    Training pictures that are duplicates of test pictures are left out: a model is not to be tested
    on what it was trained on. Where most pictures look like others, such as those of one machine,
    only exact copies count.
    """
    inputs = data.train.inputs
    if data.test is not None:
        inputs = join_inputs(inputs, data.test.inputs)
    found = find_duplicates(inputs)
    notes: list[str] = []
    findings = Findings()
    if count(found.near) > MOST * len(inputs):
        notes.append(
            f"{count(found.near):,} of {len(inputs):,} pictures look like others, as pictures of"
            " one scene do; only exact copies were kept on one side of a split."
        )
        found = Duplicates(found.exact, ())
    if found.exact or found.near:
        names = [*list_names(data, "train"), *list_names(data, "test")]
        notes.append(describe(found, names))
        findings = Findings(tables=[tabulate(data, found, names)])
        before = len(data.train)
        data = replace(data, train=separate(data.train, found))
        if left_out := before - len(data.train):
            notes.append(
                f"{left_out:,} training pictures were left out, as they are duplicates of test"
                " pictures: on those, the model would be tested on what it was trained on."
            )
    for note in notes:
        run.print(note)
    return replace(data, notes=(*data.notes, *notes)), findings


def separate(train: Split, found: Duplicates) -> Split:
    """The training split, in which duplicates are a group, without those of later items."""
    first = len(train)
    leaked = {each for members in list_leaks(found, first) for each in members}
    within = Duplicates(keep_below(found.exact, first), keep_below(found.near, first))
    if within.exact or within.near:
        train = replace(train, groups=within.groups(first, train.groups))
    return train.take(np.setdiff1d(np.arange(first), sorted(leaked))) if leaked else train


def count(sets: Sets) -> int:
    """How many items the sets have in all."""
    return sum(map(len, sets))


def list_leaks(found: Duplicates, first: int) -> Iterator[list[int]]:
    """The training items, below `first`, of each set that also has test items."""
    for members in (*found.exact, *found.near):
        if members[-1] >= first:
            yield [each for each in members if each < first]


def keep_below(sets: Sets, first: int) -> Sets:
    """The sets without items from `first` on."""
    kept = (tuple(each for each in members if each < first) for members in sets)
    return tuple(members for members in kept if len(members) > 1)


def list_repeats(found: Duplicates) -> tuple[dict[int, int], dict[int, int]]:
    """Items that repeat another one, with the first of it: exact copies, and those that only look
    the same."""
    exact, near = (
        {each: members[0] for members in sets for each in members[1:]}
        for sets in (found.exact, found.near)
    )
    return exact, {each: first for each, first in near.items() if each not in exact}


def list_names(data: DataSet, part: str) -> list[str]:
    """The files of a split, or numbers where it has none."""
    split = data.splits().get(part)
    if split is None:
        return []
    return [*split.names] or [f"{part} item {n}" for n in range(len(split))]


def describe(found: Duplicates, names: Sequence[str]) -> str:
    """How many there are, and one of them."""
    exact, near = (len(each) for each in list_repeats(found))
    some = (found.exact or found.near)[0]
    kinds = [f"{exact:,} exact"] * bool(exact) + [f"{near:,} that look the same"] * bool(near)
    return (
        f"Duplicates: {' and '.join(kinds)}, such as {names[some[1]]} and {names[some[0]]}."
        " They are on one side of every split."
    )


def tabulate(data: DataSet, found: Duplicates, names: Sequence[str]) -> Table:
    """Each duplicate with the picture that it repeats, and whether their targets differ."""
    targets = data.train.targets
    if data.test is not None:
        targets = np.concatenate([targets, data.test.targets])
    rows = []
    others = 0
    for kind, repeats in zip(("copy", "looks the same"), list_repeats(found), strict=True):
        for each, first in repeats.items():
            differs = bool(np.any(targets[each] != targets[first]))
            others += differs
            rows.append((names[each], names[first], kind, "differs" if differs else ""))
    note = f"The label of {others:,} differs: one of the two is wrong. " * bool(others)
    note += f"The first {MAX_LISTED} are listed." * (len(rows) > MAX_LISTED)
    return Table(TITLE, ("file", "the same as", "how", "label"), rows[:MAX_LISTED], note.strip())
