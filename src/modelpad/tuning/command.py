"""A trial in words, and the command that trains its model."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from modelpad.training.options import changed_options, write_flags
from modelpad.training.report_page import format_seconds
from modelpad.tuning.space import with_values

if TYPE_CHECKING:
    from modelpad.tuning.journal import TrialRecord
    from modelpad.tuning.search import Search


def describe_values(values: Mapping[str, float]) -> str:
    """`learning_rate 0.0012, batch_size 64`, or `defaults`."""
    return ", ".join(f"{name} {value:g}" for name, value in values.items()) or "defaults"


def describe_trial(search: Search, record: TrialRecord) -> str:
    """A trial that has just ended, on one line."""
    found = f"{search.metric} {record.loss:.5f}" if record.losses else record.reason
    values, seconds = describe_values(record.values), format_seconds(record.seconds)
    mark = "best so far" if search.best is record else ""
    if record.state != "finished":
        mark = f"{record.state} after epoch {len(record.losses)}"
    parts = (f"trial {record.number}/{search.plan.trials}", found, values, seconds, mark)
    return "  ".join(filter(None, parts))


def write_command(search: Search, record: TrialRecord, name: str | None) -> str:
    """The `modelpad train` command of a trial; `name` is the model's, if it was given."""
    recipe, request = search.recipe, search.request
    options = with_values(recipe, search.options, record.values)
    usual = {"data": recipe.data_sets[0], "name": None, "epochs": None, "seed": 0, "limit": None}
    asked = {
        "data": request.data,
        "name": name,
        "epochs": request.epochs,
        "seed": request.seed,
        "limit": request.limit,
    }
    given = {each: value for each, value in asked.items() if value != usual[each]}
    skip = {"skip_unreadable": True} if request.skip_unreadable else {}
    words = write_flags(given | changed_options(options) | skip)
    return shlex.join(["modelpad", "train", recipe.name, *words])
