"""The metrics of each epoch, for TensorBoard and as CSV."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

VALIDATION = "val_"


class Tracker:
    """Writes TensorBoard events into a folder, without TensorFlow or PyTorch."""

    def __init__(self, folder: Path) -> None:
        self._writer = EventFileWriter(str(folder))

    def log(self, epoch: int, numbers: Mapping[str, float]) -> None:
        """Adds one epoch, counted from 0; `loss` and `val_loss` share a chart."""
        values = [Summary.Value(tag=tag_of(name), simple_value=n) for name, n in numbers.items()]
        summary = Summary(value=values)
        self._writer.add_event(Event(wall_time=time.time(), step=epoch + 1, summary=summary))
        self._writer.flush()

    def close(self) -> None:
        """Closes the event file."""
        self._writer.close()


def tag_of(name: str) -> str:
    """TensorBoard's tag for a metric: `loss/train`, `loss/validation`, `learning_rate`."""
    if name == "learning_rate":
        return name
    side = "validation" if name.startswith(VALIDATION) else "train"
    return f"{name.removeprefix(VALIDATION)}/{side}"


def format_csv(history: Sequence[Mapping[str, float]]) -> str:
    """A table with a row for each epoch and a column for each metric."""
    file = io.StringIO()
    columns = list(dict.fromkeys(name for row in history for name in row))
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return file.getvalue()
