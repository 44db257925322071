"""The architectures, each with its optimizer, loss and hyperparameters.

Models rescale pixels themselves, so that preprocessing is part of the graph. Internally, channels
come first, which is faster in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import keras
from keras import layers, losses, optimizers

from modelpad.recipes.digits import ArchitectureName
from modelpad.training.keras import FusedBatchNormalization, averaged_adamw, image_data_format
from modelpad.training.options import OptimizerOptions

Body = Callable[[type[layers.Layer]], list[layers.Layer]]
"""The layers, from the batch normalisation layer to use."""

MakeOptimizer = Callable[[int, float, float | None], optimizers.Optimizer]
"""The optimizer for a number of training steps, a learning rate and a weight decay."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """How an architecture is built and trained."""

    body: Body
    optimizer: MakeOptimizer
    rate: float = 0.001
    weight_decay: float | None = None
    loss: Callable[[], losses.Loss] = losses.CategoricalCrossentropy
    epochs: int = 12
    batch_size: int = 128
    augmentation: str = "none"
    uses_pen_strokes: bool = False  # in addition to MNIST


def choose_architecture(name: ArchitectureName, chosen: OptimizerOptions) -> Architecture:
    """The architecture, with the learning rate and the like that were chosen."""
    arch = ARCHITECTURES[name]
    return replace(
        arch,
        rate=chosen.learning_rate or arch.rate,
        batch_size=chosen.batch_size or arch.batch_size,
        weight_decay=arch.weight_decay if chosen.weight_decay is None else chosen.weight_decay,
    )


def build_model(
    name: ArchitectureName, shape: tuple[int, ...], classes: int, *, for_training: bool = False
) -> keras.Model:
    """An untrained model: float32 pixels 0..255 (N, H, W[, C]) in, probabilities (N, classes) out.

    `for_training` builds it with faster layers and the same weights in the same order.
    """
    normalization = FusedBatchNormalization if for_training else layers.BatchNormalization
    first = layers.Reshape((1, *shape)) if len(shape) == 2 else layers.Permute((3, 1, 2))
    with image_data_format("channels_first"):
        stack = keras.Sequential(
            [
                layers.Input(shape, name="image"),
                layers.Rescaling(1 / 255, name="scale"),
                first,
                *ARCHITECTURES[name].body(normalization),
                layers.Dense(classes, activation="softmax", name="label"),
            ]
        )
    return keras.Model(stack.inputs, stack.outputs, name=name)  # which names its output


def compact(normalization: type[layers.Layer]) -> list[layers.Layer]:
    """The best network, by validation, of those that train in five minutes on two cores."""

    def convolve(width: int, size: int, stride: int = 1, pad: str = "valid") -> list[layers.Layer]:
        conv = layers.Conv2D(width, size, strides=stride, padding=pad, use_bias=False)
        return [conv, normalization(axis=1, momentum=0.9), layers.ReLU()]

    return [
        *convolve(32, 5, stride=2),
        *convolve(48, 3, pad="same"),
        *convolve(48, 3),
        layers.MaxPooling2D(2),
        *convolve(64, 3, pad="same"),
        *convolve(64, 3, pad="same"),
        layers.GlobalAveragePooling2D(),
    ]


# `compact` is our own; the others follow textbooks.
ARCHITECTURES: Mapping[ArchitectureName, Architecture] = {
    "compact": Architecture(
        compact,
        averaged_adamw,
        rate=0.004,
        weight_decay=0.01,
        loss=lambda: losses.CategoricalCrossentropy(label_smoothing=0.02),
        augmentation="affine-elastic",
        uses_pen_strokes=True,
    ),
    "conv": Architecture(
        lambda normalization: [
            layers.Conv2D(32, 3, activation="relu"),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.5),
        ],
        # Adadelta as it was published (Zeiler, 2012), at the rate that Keras had as its default.
        lambda steps, rate, decay: optimizers.Adadelta(rate, rho=0.95, weight_decay=decay),
        rate=1.0,
    ),
    "mini": Architecture(
        lambda normalization: [
            layers.Conv2D(16, 5, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(32, 5, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(1000, activation="relu"),
        ],
        lambda steps, rate, decay: optimizers.RMSprop(rate, weight_decay=decay),
        epochs=4,
        batch_size=64,
        augmentation="shear-zoom",
    ),
    "mlp": Architecture(
        lambda normalization: [
            layers.Flatten(),
            layers.Dense(256, activation="relu"),
            layers.Dense(128, activation="relu"),
        ],
        lambda steps, rate, decay: optimizers.Adam(rate, weight_decay=decay),
        loss=losses.SparseCategoricalCrossentropy,
        epochs=5,
        batch_size=32,
    ),
}
