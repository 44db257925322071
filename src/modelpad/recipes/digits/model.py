"""The four architectures, as Keras `Sequential` models, compiled.

Every one takes float32 numbers 0..255 and scales them itself, so that the graph carries its own
preparation. Inside, channels come first, which is what PyTorch is fast at.
"""

from __future__ import annotations

import math
import os
from typing import Any

from modelpad.errors import MissingExtra


def load_keras() -> Any:
    """Keras on its PyTorch backend, channels first. Raises `MissingExtra`."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    try:
        import keras
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtra(error.name or "keras", extra="train") from error
    keras.config.set_image_data_format("channels_first")
    return keras


def build_model(
    architecture: str,
    shape: tuple[int, ...],
    classes: int,
    policy: str,
    *,
    for_training: bool = False,
) -> Any:
    """An untrained model: float32 (N, *shape) in, float32 (N, classes) out, adding up to 1.

    `shape` is (H, W) for grey, or (H, W, channels). `policy` is a Keras dtype policy. A model
    `for_training` has the same weights in the same order, and layers that train faster.
    """
    keras = load_keras()
    layers = keras.layers
    if architecture == "best":
        body = _best(layers, fuse_normalization(keras) if for_training else None)
    else:
        body = {"conv": _conv, "mini": _mini, "mlp": _mlp}[architecture](layers)
    if len(shape) == 2:
        first = layers.Reshape((1, *shape), name="channels")
    else:
        first = layers.Permute((3, 1, 2), name="channels")
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return keras.Sequential(
            [
                layers.Input(shape, name="image"),
                layers.Rescaling(1 / 255, name="scale"),
                first,
                *body,
                layers.Dense(classes, activation="softmax", dtype="float32", name="label"),
            ],
            name=architecture,
        )
    finally:
        keras.config.set_dtype_policy(previous)


def compile_model(model: Any, architecture: str, steps: int) -> None:
    """Gives the model its optimizer and loss; `steps` is the number of batches in the training."""
    keras = load_keras()
    categorical = keras.losses.CategoricalCrossentropy
    if architecture == "conv":
        # Adadelta as it was published (Zeiler, 2012), at the rate that Keras had as its default.
        optimizer, loss = keras.optimizers.Adadelta(1.0, rho=0.95), categorical()
    elif architecture == "mini":
        optimizer, loss = keras.optimizers.RMSprop(0.001), categorical()
    elif architecture == "mlp":
        optimizer, loss = keras.optimizers.Adam(), keras.losses.SparseCategoricalCrossentropy()
    else:
        rate = keras.optimizers.schedules.CosineDecay(
            0.0,
            max(1, steps - steps // 6),
            alpha=0.0,
            warmup_target=0.004,
            warmup_steps=max(1, steps // 6),
        )
        # The average starts at the untrained weights, and must have forgotten them in the end.
        momentum = min(0.995, math.exp(-8 / max(1, steps)))
        optimizer = keras.optimizers.AdamW(
            rate, weight_decay=0.01, use_ema=True, ema_momentum=momentum
        )
        loss = categorical(label_smoothing=0.02)
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])


def wants_one_hot(architecture: str) -> bool:
    """Whether the loss takes one-hot labels rather than class indices."""
    return architecture != "mlp"


def _conv(layers: Any) -> list[Any]:
    return [
        layers.Conv2D(32, 3, activation="relu"),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Dropout(0.25),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dropout(0.5),
    ]


def _mini(layers: Any) -> list[Any]:
    return [
        layers.Conv2D(16, 5, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(32, 5, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(1000, activation="relu"),
    ]


def _mlp(layers: Any) -> list[Any]:
    return [
        layers.Flatten(),
        layers.Dense(256, activation="relu"),
        layers.Dense(128, activation="relu"),
    ]


def _best(layers: Any, normalization: Any = None) -> list[Any]:
    """A wide first convolution at half size, then four of 3x3 with batch normalisation.

    Chosen by validation among nets that train in the same five minutes on two cores.
    """
    normalize = normalization or layers.BatchNormalization

    def convolve(filters: int, size: int, **options: Any) -> list[Any]:
        return [
            layers.Conv2D(filters, size, use_bias=False, **options),
            normalize(axis=1, momentum=0.9),
            layers.ReLU(),
        ]

    return [
        *convolve(32, 5, strides=2),
        *convolve(48, 3, padding="same"),
        *convolve(48, 3),
        layers.MaxPooling2D(2),
        *convolve(64, 3, padding="same"),
        *convolve(64, 3, padding="same"),
        layers.GlobalAveragePooling2D(),
    ]


def fuse_normalization(keras: Any) -> Any:
    """Keras's batch normalisation by PyTorch's one fused operator: the same, in two thirds of the
    time of a training step. For channels first."""
    import torch

    class Fused(keras.layers.BatchNormalization):  # type: ignore[misc]
        def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
            if not training:
                return super().call(inputs, training=training, mask=mask)
            mean = self.moving_mean.value.detach().clone()
            variance = self.moving_variance.value.detach().clone()
            answer = torch.nn.functional.batch_norm(
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
            return answer

    return Fused
