"""What happens after each epoch beside Keras's own callbacks: progress, logs, checkpoints."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any, TextIO

from modelpad.recipes.digits.model import load_keras

WEIGHTS, STATE = "state.weights.h5", "state.json"


def make_progress(out: TextIO, epochs: int, first_epoch: int) -> Any:
    """A Keras callback that shows a bar with time left, metrics and the learning rate."""
    keras = load_keras()
    redraw = out.isatty()

    class Progress(keras.callbacks.Callback):  # type: ignore[name-defined, misc]
        def on_train_begin(self, logs: Any = None) -> None:
            self.start, self.drawn = time.monotonic(), 0.0

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.epoch = epoch

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            now = time.monotonic()
            if redraw and now - self.drawn > 0.2:
                self.drawn = now
                self._draw(batch + 1, logs or {}, "\r")

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self._draw(self.params["steps"], logs or {}, "\n")

        def _draw(self, batch: int, logs: dict[str, float], end: str) -> None:
            steps = self.params["steps"]
            done = (self.epoch - first_epoch) * steps + batch
            left_s = (
                (time.monotonic() - self.start) / done * ((epochs - first_epoch) * steps - done)
            )
            filled = round(20 * batch / steps)
            bar = "█" * filled + "░" * (20 - filled)
            numbers = "  ".join(f"{name} {value:.4f}" for name, value in logs.items())
            rate = float(self.model.optimizer.learning_rate)
            line = (
                f"epoch {self.epoch + 1}/{epochs} {bar} {numbers}  rate {rate:.2g}"
                f"  {left_s // 60:.0f}:{left_s % 60:02.0f} left"
            )
            out.write(("\r\033[K" if redraw else "") + line + ("" if end == "\r" else "\n"))
            out.flush()

    return Progress()


def make_reseeding(seed: int) -> Any:
    """A Keras callback that seeds each epoch by its number, so that a resumed one is the same.

    Dropout on PyTorch draws from the global generator, which no checkpoint holds.
    """
    keras = load_keras()

    class Reseeding(keras.callbacks.Callback):  # type: ignore[name-defined, misc]
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            keras.utils.set_random_seed(hash((seed, epoch)) & 0x7FFFFFFF)

    return Reseeding()


def make_logger(folder: Path) -> Any:
    """A Keras callback that writes TensorBoard events, without TensorFlow."""
    keras = load_keras()
    from torch.utils.tensorboard import SummaryWriter

    class Logger(keras.callbacks.Callback):  # type: ignore[name-defined, misc]
        def on_train_begin(self, logs: Any = None) -> None:
            self.writer = SummaryWriter(str(folder))

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            for name, value in (logs or {}).items():
                kind, _, metric = name.rpartition("val_")
                side = "validation" if kind or name.startswith("val_") else "train"
                self.writer.add_scalar(f"{metric or name}/{side}", value, epoch + 1)
            rate = float(self.model.optimizer.learning_rate)
            self.writer.add_scalar("learning_rate", rate, epoch + 1)
            self.writer.flush()

        def on_train_end(self, logs: Any = None) -> None:
            self.writer.close()

    return Logger()


def make_checkpoint(folder: Path, facts: dict[str, Any], history: list[dict[str, float]]) -> Any:
    """A Keras callback that saves weights, optimizer and history after each epoch.

    Keras's own `BackupAndRestore` writes in place, so a kill in the middle of a write loses the
    run; here a whole folder is written aside and renamed.
    """
    keras = load_keras()

    class Checkpoint(keras.callbacks.Callback):  # type: ignore[name-defined, misc]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            rate = float(self.model.optimizer.learning_rate)
            row = {name: float(value) for name, value in (logs or {}).items()}
            history.append({"epoch": epoch + 1} | row | {"learning_rate": rate})
            aside = folder.with_name(f"{folder.name}.new")
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            self.model.save_weights(aside / WEIGHTS)
            state = {"facts": facts, "history": history}
            (aside / STATE).write_text(json.dumps(state), "utf-8")
            replace_folder(aside, folder)

    return Checkpoint()


def replace_folder(new: Path, old: Path) -> None:
    """Puts `new` where `old` is; at every moment one of the two is whole under a known name."""
    previous = old.with_name(f"{old.name}.old")
    shutil.rmtree(previous, ignore_errors=True)
    if old.exists():
        old.rename(previous)
    new.rename(old)
    shutil.rmtree(previous, ignore_errors=True)


def read_checkpoint(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest whole checkpoint's weights and state; None when there is none."""
    for candidate in (folder, folder.with_name(f"{folder.name}.old")):
        try:
            state = json.loads((candidate / STATE).read_text("utf-8"))
        except (OSError, ValueError):
            continue
        if (candidate / WEIGHTS).is_file():
            return candidate / WEIGHTS, state
    return None
