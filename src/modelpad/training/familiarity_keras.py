"""A second output `familiarity` of a Keras classifier, in Keras's own layers.

`add_likeness` compares features with those of known items, `add_recogniser` learns to tell known
items from examples of others. Weights are shared with the classifier, whose output is unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from modelpad.fields import Familiarity
from modelpad.training.familiarity import TENSOR, Likeness, fit_likeness, fit_threshold
from modelpad.training.seeding import derive_seed

CHANNELS, HIDDEN = 16, 24
EPOCHS, BATCH, RATE, DECAY = 16, 256, 5e-3, 0.05
DROPOUT, SMOOTHING = 0.1, 0.02
FLOOR = 0.1  # of the mean spread: a rare feature does not become a loud one

Numbers = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Known:
    """What is familiar: training items (N, ...) and labels (N,), and items not trained on."""

    items: Numbers
    labels: NDArray[np.int64]
    validation: Numbers


def add_likeness(model: keras.Model, known: Known, seed: int) -> tuple[keras.Model, Familiarity]:
    """The model with an output `familiarity` (N, 1): the cosine to the nearest known features."""
    features = model.layers[-2].output
    read = keras.Model(model.inputs, features)
    likeness = fit_likeness(_predict(read, known.items), known.labels, seed)
    likeness = likeness.with_threshold(likeness.score(_predict(read, known.validation)))
    return build_likeness(model, features, likeness), likeness.field


def build_likeness(
    model: keras.Model, features: keras.KerasTensor, likeness: Likeness
) -> keras.Model:
    """The model with `likeness` of its `features` (N, D) as an output `familiarity` (N, 1)."""
    count = len(likeness.centres)
    directions = layers.UnitNormalization(name="direction")(features)
    compare = layers.Dense(count, use_bias=False, trainable=False, name="cosines")
    by_centre = layers.Reshape((count, 1), name="by_centre")(compare(directions))
    compare.set_weights([likeness.centres.T])
    nearest = layers.GlobalMaxPooling1D(name=TENSOR, data_format="channels_last")(by_centre)
    return keras.Model(model.inputs, [*model.outputs, nearest], name=model.name)


def add_recogniser(
    model: keras.Model, known: Known, others: Numbers, seed: int
) -> tuple[keras.Model, Familiarity]:
    """The model with an output `familiarity` (N, 1) that is high for known items, low for `others`.

    Three dense layers learn the difference between the training items and `others` (M, ...). They
    read what the last layer reads, before it is pooled; the first of them reads each place alike,
    which takes few weights.
    """
    keras.utils.set_random_seed(derive_seed(seed, 7))
    features = _find_features(model)
    read = keras.Model(model.inputs, features)
    inputs = np.concatenate([_predict(read, known.items), _predict(read, others)])
    targets = np.repeat(np.array([1, 0], np.float32), [len(known.items), len(others)])[:, None]
    places = tuple(range(inputs.ndim - 1))
    mean, spread = inputs.mean(axis=places), inputs.std(axis=places)
    spread += FLOOR * float(spread.mean()) + np.float32(1e-6)
    inputs -= mean
    inputs /= spread

    narrow = layers.Dense(CHANNELS, activation="relu", name="narrowed")
    hidden = layers.Dense(HIDDEN, activation="relu", name="recogniser")
    output = layers.Dense(1, name=TENSOR)
    head = keras.Sequential(
        [
            narrow,
            layers.Flatten(),
            layers.Dropout(DROPOUT),
            hidden,
            layers.Dropout(DROPOUT),
            output,
        ]
    )
    rate = keras.optimizers.schedules.CosineDecay(RATE, EPOCHS * -(-len(inputs) // BATCH))
    loss = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=SMOOTHING)
    head.compile(keras.optimizers.AdamW(rate, weight_decay=DECAY), loss)
    head.fit(inputs, targets, batch_size=BATCH, epochs=EPOCHS, verbose=0)

    kernel, bias = narrow.get_weights()  # made to read features as they are
    narrow.set_weights([kernel / spread[:, None], bias - (mean / spread) @ kernel])
    head.trainable = False
    flat = layers.Flatten(name="unpooled")(narrow(features))
    served = keras.Model(model.inputs, [*model.outputs, output(hidden(flat))], name=model.name)
    held_out = _predict(keras.Model(model.inputs, served.outputs[-1]), known.validation)
    return served, Familiarity(TENSOR, fit_threshold(held_out[:, 0]))


def _find_features(model: keras.Model) -> keras.KerasTensor:
    """What the last layer reads, or, if that is pooled over the image, what is pooled.

    The channels come last.
    """
    last = model.layers[-2]
    if not isinstance(last, layers.GlobalAveragePooling2D):
        return last.output
    if last.data_format == "channels_last":
        return last.input
    return layers.Permute((2, 3, 1), name="channels_last")(last.input)


def _predict(model: keras.Model, items: Numbers) -> Numbers:
    return np.asarray(model.predict(items, batch_size=500, verbose=0), dtype=np.float32)
