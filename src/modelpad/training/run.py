"""A training run: its request, folder, checkpoints, metrics, and handling of Ctrl-C.

Recipes call the run; it never calls a recipe, and depends on no framework.

    run.set_epochs(5)
    run.restore(read)
    with run.interruptible():
        for epoch in run.remaining_epochs():
            ...
            run.progress(epoch, step, steps, {"loss": loss})
            run.log(epoch, {"loss": loss, "val_loss": val_loss})
            run.save(write, loss=val_loss)
    run.restore_best(read)
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

from modelpad.errors import TrainingFailed, UsageError
from modelpad.training.checkpoint import Checkpoint, Write, read_checkpoint, write_checkpoint
from modelpad.training.interrupts import Interrupts, Phase
from modelpad.training.parallel import ALONE, FollowerEnded, Team
from modelpad.training.progress import ProgressBar
from modelpad.training.seeding import derive_seed
from modelpad.training.trial import TrialEnded

if TYPE_CHECKING:
    from modelpad.datasets import DataSet, LoadOptions, Progress
    from modelpad.foreign_json import Json
    from modelpad.locations import StoreLocation
    from modelpad.training.tracking import Tracker
    from modelpad.training.trial import Trial

T = TypeVar("T")
Watch = Callable[[float, str], None]  # is told which share of the training is done, and its step

# Everything that a run writes into its folder; a new run removes only these.
CHECKPOINT, BEST, LOGS, BUNDLE, REPORT = "checkpoint", "best", "logs", "bundle", "report"
WRITTEN = (
    *(CHECKPOINT, f"{CHECKPOINT}.new", f"{CHECKPOINT}.old"),
    *(BEST, f"{BEST}.new", f"{BEST}.old"),
    *(LOGS, BUNDLE, REPORT, "report.html", "graph.svg", "history.csv", "scratch"),
)
MIN_LIMIT = 20


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """The options common to all recipes.

    `folder` is the run folder. `epochs` None means the recipe's default; `limit` is how many
    items of each split are used at most. `origin` is for the manifest: what asked for the training,
    if not a person; `notes` are for the card. `store` is where models are that a recipe may start
    from.
    """

    name: str
    data: str
    folder: Path
    epochs: int | None = None
    seed: int = 0
    resume: bool = False
    limit: int | None = None
    skip_unreadable: bool = False
    roots: tuple[Path, ...] = ()
    cache: Path | None = None
    origin: Mapping[str, Json] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    store: StoreLocation | None = None

    def __post_init__(self) -> None:
        minimums = (("epochs", self.epochs, 1), ("limit", self.limit, MIN_LIMIT))
        for name, value, minimum in minimums:
            if value is not None and value < minimum:
                raise UsageError(f"--{name} is {value}.", hint=f"Give {minimum} or more.")


class Run:
    """A training in progress.

    `facts` are the settings that must not change when a run is resumed. The run of a `trial` ends
    with `TrialEnded` before its model is tested. In a `team`, the run of a follower takes part in
    the training, writes nothing, and ends with `FollowerEnded` before the test. Raises
    `TrainingFailed` if there is nothing to resume, or if the settings differ.
    """

    def __init__(
        self,
        request: TrainRequest,
        facts: Mapping[str, object],
        out: TextIO,
        data_progress: Progress | None = None,
        watch: Watch | None = None,
        trial: Trial | None = None,
        team: Team = ALONE,
    ) -> None:
        self.request, self.out = request, out
        self._trial = trial
        self._watch = watch
        self.folder, self.seed = request.folder, request.seed
        self.interrupts = Interrupts(out, asks_first=team.size > 1)
        self.team = replace(team, wants_to_stop=self.interrupts.is_pending)
        self.epochs = 0
        self.stopped = False
        self.data_name = request.data
        self._data_progress = data_progress
        self._facts = json.loads(json.dumps(dict(facts)))
        self._checkpoint = self._find_checkpoint()
        state = self._checkpoint.state if self._checkpoint else {}
        self.history: list[dict[str, float]] = list(state.get("history", ()))  # type: ignore[call-overload]
        self._pinned: dict[str, object] = dict(state.get("pinned", {}))  # type: ignore[call-overload]
        before = state.get("seconds", 0.0)
        self._seconds_before = before if isinstance(before, int | float) else 0.0
        self._start = time.monotonic()
        self._begun = False
        self._bar: ProgressBar | None = None
        self._tracker: Tracker | None = None

    def print(self, line: str) -> None:
        """Prints a line for the user."""
        self.out.write(f"{line}\n")
        self.out.flush()

    def load_data(self, options: LoadOptions | None = None) -> DataSet:
        """The requested data set, downloaded with progress if necessary.

        Raises as `modelpad.datasets.load_data`.
        """
        from modelpad.datasets import load_data

        data = load_data(
            self.request.data,
            roots=self.request.roots,
            cache=self.request.cache,
            progress=self._data_progress,
            on_unreadable="skip" if self.request.skip_unreadable else "refuse",
            options=options,
        )
        self.data_name = data.name
        return data

    def set_epochs(self, default: int) -> int:
        """Sets the number of epochs: the requested number, else `default`."""
        self.epochs = self.request.epochs or default
        if self._trial is not None and not self.epochs:
            raise UsageError(
                "Nothing is trained in epochs, which a search could judge.", hint="Give --epochs 2"
            )
        self.pin("epochs", lambda: self.epochs)
        self._check_same("epochs", self._pinned["epochs"], self.epochs)
        return self.epochs

    @property
    def first_epoch(self) -> int:
        """The epoch to train next, counted from 0; above 0 in a resumed run."""
        return len(self.history)

    def remaining_epochs(self) -> range:
        """The epochs still to train."""
        return range(self.first_epoch, self.epochs)

    def seed_of(self, epoch: int) -> int:
        """The seed of an epoch, so that a resumed epoch repeats exactly."""
        return derive_seed(self.seed, epoch)

    def pin(self, name: str, decide: Callable[[], T]) -> T:
        """Calls `decide` once per run and returns that value again when the run is resumed.

        For JSON values that are expensive, or may differ between machines.
        """
        if name not in self._pinned:
            self._pinned[name] = decide()
        value: T = self._pinned[name]  # type: ignore[assignment]
        return value

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Wraps the training loop: Ctrl-C ends it and keeps the best epoch so far.

        Raises `TrainingFailed` if no epoch has finished yet.
        """
        self.begin()
        self.interrupts.phase = Phase.TRAINING
        try:
            yield
            self.interrupts.release()
        except KeyboardInterrupt:
            if self._trial is not None:
                raise
            self._leave_team()
            self.interrupts.finish()
            if read_checkpoint(self.folder / BEST) is None:
                raise TrainingFailed(
                    "Stopped before the first epoch finished, so there is no model to keep.",
                    hint="Start again, or use less data: --limit 5000",
                ) from None
            self.stopped = self.first_epoch < self.epochs
            what = "Stopped" if self.stopped else "Training had already finished"
            self.print(f"\n{what}: keeping the best epoch.")
        finally:
            self.end_training()

    def end_training(self) -> None:
        """Ends the training phase: Ctrl-C no longer discards the model. Idempotent."""
        self.interrupts.finish()
        self.begin()
        if self._tracker is not None:
            self._tracker.close()
            self._tracker = None

    def begin(self) -> None:
        """Removes the files of an earlier run, unless this run resumes it."""
        if self._begun:
            return
        self._begun = True
        if not self.team.leads:
            return
        if self._checkpoint is not None:
            self.print(f"Resuming after epoch {self.first_epoch} of {self.epochs}.")
            return
        for name in WRITTEN:
            path = self.folder / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        self.folder.mkdir(parents=True, exist_ok=True)

    def progress(self, epoch: int, step: int, steps: int, numbers: Mapping[str, float]) -> None:
        """Updates the progress bar: `step` of `steps` are done."""
        self.interrupts.release()
        if not self.team.leads:
            return
        self._progress_bar().update(epoch, step, steps, numbers)
        if self._watch is not None:
            share = (epoch + step / steps) / max(1, self.epochs)
            self._watch(share, f"Epoch {epoch + 1} of {self.epochs}")

    def report(self, share: float, step: str) -> None:
        """Tells who watches the run what it does outside epochs, and which share of it is done."""
        self.interrupts.release()
        if self._watch is not None:
            self._watch(share, step)

    def log(self, epoch: int, numbers: Mapping[str, float]) -> None:
        """Logs an epoch's metrics: on screen, to `history.csv` and to TensorBoard.

        The prefix `val_` marks validation metrics; `learning_rate` is shown as `rate`. From here, a
        Ctrl-C waits for `save`.
        """
        from modelpad.training.tracking import Tracker, format_csv

        if not self.team.leads:
            return
        self.interrupts.hold()
        self.begin()
        row = {name: float(value) for name, value in numbers.items()}
        self.history.append({"epoch": epoch + 1} | row)
        self._progress_bar().end_epoch(epoch, row)
        if self._tracker is None:
            self._tracker = Tracker(self.folder / LOGS)
        self._tracker.log(epoch, row)
        (self.folder / "history.csv").write_text(format_csv(self.history), "utf-8")

    def save(self, write: Write, *, loss: float, write_best: Write | None = None) -> None:
        """Saves a checkpoint to resume from, and as the best epoch if `loss` is the lowest so far.

        `write` fills an empty folder; `write_best` does so for the best epoch, if that differs.
        """
        if not self.team.leads:
            return
        best = read_checkpoint(self.folder / BEST)
        lowest = None if best is None else best.state["loss"]
        # The best epoch comes first: if killed in between, the run repeats the epoch identically.
        if not isinstance(lowest, float) or lowest != lowest or loss < lowest:
            kept = {"loss": float(loss), "epoch": len(self.history)}
            write_checkpoint(self.folder / BEST, write_best or write, kept)
        write_checkpoint(self.folder / CHECKPOINT, write, self._state())
        self.interrupts.release()
        if self._trial is not None:
            self._trial.report(self.history, self.epochs)

    @property
    def is_trial(self) -> bool:
        """Whether the run only finds out how well its options do on the validation split."""
        return self._trial is not None

    def use(self, **values: float | None) -> None:
        """Tells a trial which values of its options are in effect, also those of the recipe."""
        if self._trial is not None:
            known = {name: value for name, value in values.items() if value is not None}
            self._trial.use(known)

    def judge(self, numbers: Mapping[str, float]) -> None:
        """Ends a trial of a model that is not trained in epochs, by its validation metrics."""
        if self._trial is not None:
            self._trial.report([numbers], 1)
            raise TrialEnded

    def save_midway(self, write: Write) -> None:
        """Saves a checkpoint to resume from within an epoch, for epochs that take long.

        What `write` writes must tell how far the epoch is.
        """
        if not self.team.leads:
            return
        self.interrupts.hold()
        self.begin()
        write_checkpoint(self.folder / CHECKPOINT, write, self._state())
        self.interrupts.release()

    def restore(self, read: Callable[[Path], object]) -> int:
        """Loads the checkpoint if the run is resumed. Returns the epoch to train next."""
        if self._checkpoint is not None:
            read(self._checkpoint.folder)
        return self.first_epoch

    def restore_best(self, read: Callable[[Path], object]) -> None:
        """Loads the epoch with the lowest loss; a trial or a follower ends here, before the test.

        Raises `TrainingFailed` if none was saved.
        """
        self._leave_team()
        if self._trial is not None:
            self._trial.report(self.history, self.epochs)  # a resumed trial may have no epoch left
            raise TrialEnded
        best = read_checkpoint(self.folder / BEST)
        if best is None:
            raise TrainingFailed(
                f"{self.folder} contains no trained epoch.", hint="Train at least one: --epochs 1"
            )
        read(best.folder)

    @property
    def facts(self) -> dict[str, Json]:
        """The settings that must not change when the run is resumed, as JSON."""
        return {**self._facts}

    def describe(self) -> dict[str, Json]:
        """The run's facts for the card."""
        epochs: dict[str, Json] = {"epochs": len(self.history)} if self.history else {}
        seconds = round(self.seconds, 1)
        return {"data": self.data_name, **epochs, "seed": self.seed, "seconds": seconds}

    @property
    def seconds(self) -> float:
        """How long the run has taken, with what it took before it was resumed."""
        return self._seconds_before + time.monotonic() - self._start

    def _leave_team(self) -> None:
        if not self.team.leads:
            raise FollowerEnded

    def _state(self) -> dict[str, object]:
        return {
            "facts": self._facts,
            "pinned": self._pinned,
            "history": self.history,
            "seconds": self.seconds,
        }

    def _progress_bar(self) -> ProgressBar:
        if self._bar is None:
            self._bar = ProgressBar(self.out, self.epochs, self.first_epoch)
        return self._bar

    def _find_checkpoint(self) -> Checkpoint | None:
        if not self.request.resume:
            return None
        found = read_checkpoint(self.folder / CHECKPOINT)
        if found is None:
            raise TrainingFailed(
                f"There is no checkpoint in {self.folder}.",
                hint="Start a new run without --resume.",
            )
        before = found.state.get("facts")
        for name, value in self._facts.items():
            self._check_same(name, before.get(name) if isinstance(before, dict) else None, value)
        return found

    def _check_same(self, name: str, before: object, now: object) -> None:
        if before != now:
            raise TrainingFailed(
                f"The checkpoint was made with a different {name.replace('_', ' ')}: {before!r}.",
                hint="Use the same options as before, or start a new run without --resume.",
            )
