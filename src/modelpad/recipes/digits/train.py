"""The training, from top to bottom: data, model, fit, test, export, parity, bundle."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from modelpad.datasets import Split
from modelpad.errors import TrainingFailed
from modelpad.recipes.digits.batches import make_batches
from modelpad.recipes.digits.callbacks import (
    make_checkpoint,
    make_logger,
    make_progress,
    make_reseeding,
    read_checkpoint,
)
from modelpad.recipes.digits.data import Splits, gather_material
from modelpad.recipes.digits.model import build_model, compile_model, load_keras, wants_one_hot
from modelpad.recipes.digits.options import TrainOptions, TrainResult

FLOAT32, BFLOAT16 = "float32", "mixed_bfloat16"


def train_digits(options: TrainOptions, *, out: TextIO) -> TrainResult:
    """Trains, tests, and writes a bundle into the run's folder; progress goes to `out`.

    Ctrl-C keeps the best epoch so far and goes on to test it.

    Raises:
        DataSetNotFound, DataSetInvalid: the data is not here, or cannot be learned from.
        MissingExtra: the `train` extra is not installed.
        TrainingFailed: nothing to resume, or stopped before the first epoch ended.
        ParityFailed: the bundle does not answer as the Keras model does.
    """
    keras = load_keras()
    started = time.monotonic()
    folder = options.run_folder
    material = gather_material(options)
    epochs = options.epochs or options.schedule.epochs
    out.write(
        f"{options.architecture} on {material.data.name}: {len(material.train):,} images to learn"
        f" from, {len(material.validation):,} to choose by, {len(material.test):,} to test.\n"
    )

    facts: dict[str, Any] = {
        "architecture": options.architecture,
        "data": options.data,
        "seed": options.seed,
        "epochs": epochs,
        "limit": options.limit,
        "policy": None,
    }
    checkpoint = find_checkpoint(options, facts)
    facts["policy"] = checkpoint[1]["facts"]["policy"] if checkpoint else choose_policy(options)
    history: list[dict[str, float]] = checkpoint[1]["history"] if checkpoint else []
    first_epoch = len(history)

    keras.utils.set_random_seed(options.seed)
    classes = len(material.data.classes)
    shape = material.item_shape
    model = build_model(options.architecture, shape, classes, facts["policy"], for_training=True)
    train, validation = make_splits(options, material, first_epoch)
    compile_model(model, options.architecture, len(train) * epochs)
    model(np.zeros((1, *shape), np.float32))
    best = folder / "best.weights.h5"
    if checkpoint:
        model.optimizer.build(model.trainable_variables)
        model.load_weights(checkpoint[0])
        out.write(f"Going on after epoch {first_epoch} of {epochs}.\n")
    else:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)

    keep_best = keras.callbacks.ModelCheckpoint(
        best,
        monitor="val_loss",
        save_best_only=True,
        save_weights_only=True,
        initial_value_threshold=min((row["val_loss"] for row in history), default=None),
    )
    callbacks = [
        make_reseeding(options.seed),
        make_checkpoint(folder / "checkpoint", facts, history),
        make_progress(out, epochs, first_epoch),
        make_logger(folder / "logs"),
    ]
    if options.architecture == "best":
        # Averaged weights are what is validated and kept; after the checkpoint, which is raw.
        callbacks.append(keras.callbacks.SwapEMAWeights(swap_on_epoch=True))
    callbacks.append(keep_best)
    stopped = False
    try:
        model.fit(
            train,
            initial_epoch=first_epoch,
            epochs=epochs,
            validation_data=validation,
            callbacks=callbacks,
            shuffle=False,
            verbose=0,
        )
    except KeyboardInterrupt:
        if not best.exists():
            raise TrainingFailed(
                "Stopped before the first epoch ended, so there is nothing to keep.",
                hint="Start again, or try with fewer images: --limit 5000",
            ) from None
        stopped = True
        out.write("\nStopped: keeping the best epoch so far.\n")

    from modelpad.recipes.digits.finish import finish_training

    model.load_weights(best, skip_mismatch=False)
    final = build_model(options.architecture, shape, classes, FLOAT32)
    final.set_weights(model.get_weights())
    seconds = time.monotonic() - started
    bundle, metrics = finish_training(
        options, material, final, history, facts | {"seconds": round(seconds, 1)}, out
    )
    return TrainResult(bundle, metrics, material.data.name, stopped)


def find_checkpoint(
    options: TrainOptions, facts: dict[str, Any]
) -> tuple[Path, dict[str, Any]] | None:
    """The checkpoint to go on from. Raises `TrainingFailed` when it is of another training."""
    if not options.resume:
        return None
    found = read_checkpoint(options.run_folder / "checkpoint")
    if found is None:
        raise TrainingFailed(
            f"There is no checkpoint in {options.run_folder}.",
            hint="Start without --resume.",
        )
    before = found[1]["facts"]
    changed = [name for name in facts if name != "policy" and before.get(name) != facts[name]]
    if changed:
        raise TrainingFailed(
            f"The checkpoint was made with another {changed[0]}: {before.get(changed[0])!r}.",
            hint="Give the same options as before, or start without --resume.",
        )
    return found


def make_splits(options: TrainOptions, material: Splits, first_epoch: int) -> tuple[Any, Any]:
    """The training batches, and the validation split as arrays."""
    keras = load_keras()
    classes = len(material.data.classes) if wants_one_hot(options.architecture) else None
    train = make_batches(
        shape_items(material, material.train),
        options.schedule.batch_size,
        seed=options.seed,
        augmentation=options.schedule.augmentation,
        classes=classes,
        first_epoch=first_epoch,
    )
    held = shape_items(material, material.validation)
    labels = held.labels if classes is None else keras.utils.to_categorical(held.labels, classes)
    return train, (held.images.astype(np.float32), labels)


def shape_items(material: Splits, split: Split) -> Split:
    """The split with images in the shape that the graph takes."""
    return Split(split.images.reshape(len(split), *material.item_shape), split.labels)


def choose_policy(options: TrainOptions) -> str:
    """`mixed_bfloat16` for the architectures that are faster with it, where the processor has it.

    Decided by measurement once (docs/benchmarks.md) rather than by a clock in each run: a clock
    under load would make two trainings of one seed differ.
    """
    import torch

    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return BFLOAT16 if native and options.architecture in ("best", "conv") else FLOAT32
