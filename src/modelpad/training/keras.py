"""What Keras recipes share: `fit` for a run, cross-validation, an optimizer, and a fused layer."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import torch
from numpy.typing import NDArray

from modelpad.training.batches import Batches, BatchPlan
from modelpad.training.custom import Custom
from modelpad.training.image_splits import Examples
from modelpad.training.metrics import accuracy
from modelpad.training.parallel import Team
from modelpad.training.run import Run
from modelpad.training.seeding import derive_seed
from modelpad.training.splits import FOLDS, SMALL, make_folds

WEIGHTS = "model.weights.h5"

Arrays = tuple[NDArray[np.generic], NDArray[np.generic]]


def fit(
    model: keras.Model,
    run: Run,
    custom: Custom,
    batches: Batches,
    validation: Arrays,
) -> None:
    """Trains a compiled model for the run's remaining epochs, then loads the best weights.

    Shows progress, logs, saves checkpoints, resumes, and ends on Ctrl-C. If the optimizer averages
    weights, the averaged weights are validated and kept. The processes of a team share their
    gradients; its leader alone validates. Raises `UsageError` for callbacks in a team.
    """
    if custom.callbacks:  # one that ends the training would do so in one process
        run.team.check_alone("--callback", "it would decide in one process alone")
    share_gradients(model, run.team, batches.rows)
    run.restore(lambda folder: _restore(model, folder))
    averages = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] * model.optimizer.use_ema
    raw = run.folder / "scratch" / WEIGHTS
    # Checkpoints hold the raw weights, so they are written before the averages replace them.
    leading = [_Report(run, raw), *averages, _Save(run, raw), *custom.callbacks]
    with run.interruptible():
        model.fit(
            batches,
            initial_epoch=run.first_epoch,
            epochs=run.epochs,
            validation_data=validation if run.team.leads else None,
            callbacks=[*(leading if run.team.leads else ()), _Begin(run)],
            shuffle=False,
            verbose=0,
        )
    run.restore_best(lambda folder: model.load_weights(folder / WEIGHTS))


def share_gradients(model: keras.Model, team: Team, rows: int) -> None:
    """Lets a team's processes, each with `rows` of a batch, take the same steps."""
    if team.size == 1:
        return
    apply = model.optimizer.apply

    def apply_average(
        gradients: Sequence[torch.Tensor], variables: Sequence[keras.Variable] | None = None
    ) -> None:
        team.average(gradients, rows)
        apply(gradients, variables)

    model.optimizer.apply = apply_average


BuildModel = Callable[[int], keras.Model]
"""Builds a compiled model for a given number of training steps."""


def estimate_accuracy(
    run: Run, build_model: BuildModel, examples: Examples, plan: BatchPlan
) -> tuple[dict[str, float], tuple[str, ...]]:
    """`cross_validated_accuracy` and a note, where a single test split is too small to be reliable.

    Both are empty for 200 or more examples.
    """
    count = len(examples.labels)
    if count >= SMALL or run.is_trial or not run.team.leads:
        return {}, ()
    run.print(f"Only {count} examples: cross-validating with {FOLDS} folds first.")
    accuracies = run.pin("folds", lambda: cross_validate(run, build_model, examples, plan))
    note = (
        f"With only {count} examples a single test split is unreliable:"
        f" cross_validated_accuracy is the mean of {FOLDS} folds,"
        f" which range from {min(accuracies):.1%} to {max(accuracies):.1%}."
    )
    return {"cross_validated_accuracy": float(np.mean(accuracies))}, (note,)


def cross_validate(
    run: Run, build_model: BuildModel, examples: Examples, plan: BatchPlan
) -> list[float]:
    """The accuracy on each of five folds, of models trained on the other four."""
    accuracies = []
    rng = np.random.default_rng(run.seed)
    folds = make_folds(examples.labels, rng, groups=examples.groups)
    for fold, (train, held_out) in enumerate(folds):
        keras.utils.set_random_seed(derive_seed(run.seed, fold))
        batches = Batches(examples.take(train), plan)
        model = build_model(len(batches) * run.epochs)
        # At the end, Keras puts the weights that the optimizer averaged into the model.
        model.fit(batches, epochs=run.epochs, shuffle=False, verbose=0)
        scores = predict(model, examples.read(held_out).astype(np.float32))
        accuracies.append(accuracy(examples.labels[held_out], scores))
        run.print(f"fold {fold + 1}/{FOLDS}  accuracy {accuracies[-1]:.4f}")
    return accuracies


def predict(model: keras.Model, items: NDArray[np.float32]) -> NDArray[np.float32]:
    """The model's outputs for items (N, ...), without a progress bar: float32."""
    return np.asarray(model.predict(items, batch_size=500, verbose=0), dtype=np.float32)


@contextmanager
def image_data_format(name: str) -> Iterator[None]:
    """Keras's `channels_first` or `channels_last` for layers made in the context, not after it."""
    before = keras.config.image_data_format()
    keras.config.set_image_data_format(name)
    try:
        yield
    finally:
        keras.config.set_image_data_format(before)


def averaged_adamw(
    steps: int, peak: float, weight_decay: float | None
) -> keras.optimizers.Optimizer:
    """AdamW with warm-up, cosine decay and averaged weights."""
    warmup = steps // 6
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warmup), alpha=0.0, warmup_target=peak, warmup_steps=max(1, warmup)
    )
    # The average starts at the untrained weights, which must have decayed by the end.
    momentum = min(0.995, math.exp(-8 / max(1, steps)))
    return keras.optimizers.AdamW(
        rate, weight_decay=weight_decay, use_ema=True, ema_momentum=momentum
    )


class FusedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Keras's batch normalisation with PyTorch's fused operator, for channels-first data.

    Same results; a training step takes two thirds of the time.
    """

    def call(
        self, inputs: torch.Tensor, training: bool | None = None, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Normalises (N, C, H, W)."""
        if not training:
            output: torch.Tensor = super().call(inputs, training=training, mask=mask)
            return output
        mean = self.moving_mean.value.detach().clone()
        variance = self.moving_variance.value.detach().clone()
        normalized = torch.nn.functional.batch_norm(
            inputs,
            mean,
            variance,
            self.gamma.value,
            self.beta.value,
            training=True,
            momentum=1 - self.momentum,
            eps=self.epsilon,
        )
        self.moving_mean.assign(mean)
        self.moving_variance.assign(variance)
        return normalized


class _Report(keras.callbacks.Callback):  # type: ignore[misc]
    """Shows and logs each epoch, and writes the raw weights to the scratch folder."""

    def __init__(self, run: Run, raw: Path) -> None:
        super().__init__()
        self._run, self._raw, self._epoch = run, raw, 0

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        numbers = {**(logs or {}), "learning_rate": float(self.model.optimizer.learning_rate)}
        self._run.progress(self._epoch, batch + 1, self.params["steps"], numbers)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        rate = float(self.model.optimizer.learning_rate)
        self._run.log(epoch, {**(logs or {}), "learning_rate": rate})
        self._raw.parent.mkdir(parents=True, exist_ok=True)
        self.model.save_weights(self._raw)


class _Begin(keras.callbacks.Callback):  # type: ignore[misc]
    """Seeds each epoch, and begins it with the leader's weights."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        # Dropout draws from PyTorch's global generator, which is not part of checkpoints.
        keras.utils.set_random_seed(self._run.team.vary(self._run.seed_of(epoch)))
        self._run.team.align(each.value for each in self.model.variables)


class _Save(keras.callbacks.Callback):  # type: ignore[misc]
    """Saves the epoch: the raw weights to resume from, the averaged ones to keep."""

    def __init__(self, run: Run, raw: Path) -> None:
        super().__init__()
        self._run, self._raw = run, raw

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._run.save(
            lambda folder: shutil.move(self._raw, folder / WEIGHTS),
            loss=float((logs or {})["val_loss"]),
            write_best=lambda folder: self.model.save_weights(folder / WEIGHTS),
        )


def _restore(model: keras.Model, folder: Path) -> None:
    model.optimizer.build(model.trainable_variables)
    model.load_weights(folder / WEIGHTS)
