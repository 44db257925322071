"""The trials of a search on disk: a line of JSON for the search itself, then one for each trial.

A killed process leaves at most a torn last line, which is dropped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from modelpad.errors import TrainingFailed
from modelpad.foreign_json import as_object, load_json
from modelpad.training.ranges import Space

TRIALS = "trials.jsonl"

State = Literal["finished", "pruned", "failed"]


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """A trial that has ended, counted from 1.

    `values` are the options that it tried; none are the recipe's defaults. `used` are those in
    effect, the recipe's own included, as far as it tells. `losses` is the metric
    that the search minimises, after each epoch, of `epochs` in all.
    """

    number: int
    values: Mapping[str, float]
    state: State
    losses: tuple[float, ...]
    epochs: int
    seconds: float
    reason: str = ""
    used: Mapping[str, float] = field(default_factory=dict)

    def tried(self, space: Space) -> dict[str, float]:
        """The values in effect of the options of a space."""
        return {name: n for name, n in {**self.used, **self.values}.items() if name in space}

    @property
    def loss(self) -> float:
        """The lowest loss, which is that of the epoch that is kept."""
        return min(self.losses, default=float("inf"))


class Journal:
    """The file of a search with the settings `facts`; `records` are its trials so far."""

    def __init__(
        self, folder: Path, facts: Mapping[str, Any], records: Sequence[TrialRecord] = ()
    ) -> None:
        """Nothing is written yet."""
        self.path, self.facts = folder / TRIALS, facts
        self.records = [*records]

    def begin(self) -> None:
        """Replaces the journal of an earlier search."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self.path, [json.dumps(self.facts)])

    @classmethod
    def resume(cls, folder: Path, facts: Mapping[str, Any]) -> Journal:
        """The journal of a search that is continued.

        Raises `TrainingFailed` if there is none, if it is damaged, or if the search had other
        settings.
        """
        path = folder / TRIALS
        lines = read_lines(path)
        if not lines:
            raise TrainingFailed(
                f"There is no search in {folder}.", hint="Start a new one without --resume."
            )
        for name, value in json.loads(json.dumps(facts)).items():
            if lines[0].get(name) != value:
                raise TrainingFailed(
                    f"The search was made with a different {name.replace('_', ' ')}:"
                    f" {lines[0].get(name)!r}.",
                    hint="Use the same options as before, or start a new search without --resume.",
                )
        records = [read_record(line, path) for line in lines[1:]]
        replace_file(path, [json.dumps(line) for line in lines])
        return cls(folder, facts, records)

    def append(self, record: TrialRecord) -> None:
        """Adds a trial, which outlasts a crash from here on."""
        self.records.append(record)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(record)) + "\n")
            file.flush()
            os.fsync(file.fileno())


def read_record(line: Mapping[str, Any], path: Path) -> TrialRecord:
    """A trial from its line in the journal at `path`. Raises `TrainingFailed`."""
    try:
        return TrialRecord(**{**line, "losses": tuple(line["losses"])})
    except (KeyError, TypeError) as error:
        raise TrainingFailed(
            f"{path} has a line that is not a trial.", hint="Start a new search without --resume."
        ) from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal up to one that is torn; none if there is no file."""
    try:
        text = path.read_text("utf-8", errors="replace")
    except OSError:
        return []
    lines = []
    for line in text.splitlines():
        try:
            lines.append(as_object(load_json(line), "a line"))
        except (TypeError, ValueError):
            break
    return lines


def replace_file(path: Path, lines: list[str]) -> None:
    """Replaces a file at once."""
    staging = path.with_name(f"{path.name}.new")
    staging.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    staging.replace(path)
