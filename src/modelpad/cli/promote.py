"""`modelpad promote NAME VERSION --if CONDITION`: moves an alias, if the condition holds."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from modelpad.cli.main import (
    DONE,
    FAILED,
    add_common_options,
    add_feedback_option,
    add_store_option,
)
from modelpad.cli.settings import Settings, find_feedback
from modelpad.statistics import wilson

if TYPE_CHECKING:
    from modelpad.promotion import Outcome
    from modelpad.promotion.evaluation import Evaluated
    from modelpad.promotion.gate import SetResult, Verdict

EXAMPLE = """examples:
  modelpad promote digits 2 --if "accuracy >= production - 0.002"
  modelpad promote pets 4 --data ./held-out --if "balanced_accuracy > 0.9"
  modelpad promote pets 4 --data ./held-out --feedback ./feedback
      --if "accuracy >= production and correction_accuracy > production"
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.epilog = EXAMPLE
    parser.add_argument("name", metavar="NAME", help="the model's name")
    parser.add_argument("version", metavar="VERSION", help="a version number, or an alias")
    parser.add_argument(
        "--if",
        dest="condition",
        required=True,
        metavar="CONDITION",
        help="what must hold: accuracy, balanced_accuracy or correction_accuracy, compared with a"
        ' number, with the same metric of an alias, plus or minus a number; joined by "and"',
    )
    parser.add_argument(
        "--alias", default="production", help="the alias to move (default: %(default)s)"
    )
    parser.add_argument(
        "--data",
        metavar="NAME_OR_PATH",
        help="held-out data: its test split, else all of it; for models of tables a CSV file"
        " (default: the test split of the data set that the version was trained on)",
    )
    add_feedback_option(parser)
    add_store_option(parser)
    add_common_options(parser)


def run(args: argparse.Namespace) -> int:
    """Compares the versions, prints the comparison, and moves the alias if the condition holds."""
    from modelpad.promotion import PromotionRequest, compare_versions, move_alias
    from modelpad.promotion.held_out import DataPlaces
    from modelpad.store import open_store

    settings = Settings.from_environment(args)
    store = open_store(settings.store)
    request = PromotionRequest(
        name=args.name,
        version=args.version,
        condition=args.condition,
        alias=args.alias,
        data=args.data,
        feedback=find_feedback(args, os.environ),
        places=DataPlaces(settings.data_roots, settings.cache),
    )
    outcome = compare_versions(store, request)
    if outcome.holds:
        move_alias(store, outcome)
    if args.json:
        print(json.dumps(describe(outcome)))
    else:
        for line in write_outcome(outcome):
            print(line)
    return DONE if outcome.holds else FAILED


def write_outcome(outcome: Outcome) -> Iterator[str]:
    """The comparison, set by set, then the condition and what was done."""
    for result in outcome.sets:
        yield from write_set(outcome, result)
    for verdict in outcome.verdicts:
        yield write_verdict(verdict)
    name, alias = outcome.name, outcome.alias
    before = "" if outcome.baseline is None else f", was version {outcome.baseline}"
    if outcome.holds:
        yield f"{name}@{alias} is now version {outcome.candidate}{before}."
        if alias == "production" and outcome.baseline not in (None, outcome.candidate):
            yield f"To go back: modelpad models rollback {name}"
    else:
        stays = "is still unset" if outcome.baseline is None else f"stays {outcome.baseline}"
        yield f"Version {outcome.candidate} is not promoted: {name}@{alias} {stays}."


def write_set(outcome: Outcome, result: SetResult) -> Iterator[str]:
    """A line for each version on one set, and how the two that matter differ."""
    yield f"{result.held_out.name}: {len(result.held_out.truth):,} items"
    for version, found in sorted(result.versions.items(), reverse=True):
        role = {outcome.candidate: "candidate", outcome.baseline: outcome.alias}.get(version, "")
        yield f"  version {version:<4}{write_accuracy(found)}{f'  {role}' if role else ''}"
    if outcome.baseline is not None and outcome.baseline != outcome.candidate:
        difference = result.differ(outcome.candidate, outcome.baseline)
        yield (
            f"  right in only one: version {outcome.candidate} in {difference.only_candidate:,},"
            f" version {outcome.baseline} in {difference.only_baseline:,};"
            f" McNemar p = {difference.p:.3g}"
        )


def write_accuracy(found: Evaluated) -> str:
    """For example: `accuracy 99.60 % (99.46 to 99.71), balanced 99.58 %`."""
    interval = wilson(found.correct, len(found.truth))
    rejected = f", {found.rejected:,} inputs rejected" if found.rejected else ""
    return (
        f"accuracy {100 * float(found.accuracy):.2f} %"
        f" ({100 * interval.low:.2f} to {100 * interval.high:.2f}),"
        f" balanced {100 * float(found.balanced_accuracy):.2f} %{rejected}"
    )


def write_verdict(verdict: Verdict) -> str:
    """A comparison with its numbers."""
    sides = f"{float(verdict.left):.4f} against {float(verdict.right):.4f}"
    return f"{verdict.text}: {sides}, {'holds' if verdict.holds else 'does not hold'}"


def describe(outcome: Outcome) -> dict[str, Any]:
    """The outcome as JSON."""
    return {
        "name": outcome.name,
        "alias": outcome.alias,
        "version": outcome.candidate,
        "baseline": outcome.baseline,
        "promoted": outcome.holds,
        "sets": [describe_set(outcome, each) for each in outcome.sets],
        "condition": [
            {
                "text": verdict.text,
                "left": float(verdict.left),
                "right": float(verdict.right),
                "holds": verdict.holds,
            }
            for verdict in outcome.verdicts
        ],
    }


def describe_set(outcome: Outcome, result: SetResult) -> dict[str, Any]:
    """The versions' results on one set as JSON."""
    record: dict[str, Any] = {
        "name": result.held_out.name,
        "items": len(result.held_out.truth),
        "versions": [
            {
                "version": version,
                "correct": found.correct,
                "rejected": found.rejected,
                "accuracy": float(found.accuracy),
                "interval": [*_bounds(found)],
                "balanced_accuracy": float(found.balanced_accuracy),
            }
            for version, found in sorted(result.versions.items())
        ],
    }
    if outcome.baseline is not None:
        found = result.differ(outcome.candidate, outcome.baseline)
        record["mcnemar"] = {
            "only_candidate": found.only_candidate,
            "only_baseline": found.only_baseline,
            "p": found.p,
        }
    return record


def _bounds(found: Evaluated) -> tuple[float, float]:
    interval = wilson(found.correct, len(found.truth))
    return interval.low, interval.high
