"""The four architectures, as Keras `Sequential` models, compiled.

Every one takes float32 numbers 0..255 and scales them itself, so that the graph carries its own
preparation. Inside, channels come first, which is what PyTorch is fast at.
"""

from __future__ import annotations

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


def build_model(architecture: str, shape: tuple[int, ...], classes: int, policy: str) -> Any:
    """An untrained model: float32 (N, *shape) in, float32 (N, classes) out, adding up to 1.

    `shape` is (H, W) for grey, or (H, W, channels). `policy` is a Keras dtype policy.
    """
    keras = load_keras()
    layers = keras.layers
    body = {"best": _best, "conv": _conv, "mini": _mini, "mlp": _mlp}[architecture](layers)
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
        optimizer = keras.optimizers.AdamW(
            rate, weight_decay=0.01, use_ema=True, ema_momentum=0.995
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


def _best(layers: Any) -> list[Any]:
    """Six 3x3 convolutions with batch normalisation, then one weight a place and filter.

    Digits are centred, so where ink lies says more than a global mean keeps; the depthwise
    convolution over the whole field is that of Chen et al., 2018 (MobileFaceNets).
    """

    def convolve(filters: int, size: int, **options: Any) -> list[Any]:
        return [
            layers.Conv2D(filters, size, use_bias=False, **options),
            layers.BatchNormalization(axis=1, momentum=0.9),
            layers.ReLU(),
        ]

    return [
        *convolve(16, 3),
        *convolve(16, 3, strides=2),
        *convolve(48, 3, padding="same"),
        *convolve(48, 3),
        layers.MaxPooling2D(2),
        *convolve(64, 3, padding="same"),
        *convolve(64, 3, padding="same"),
        layers.DepthwiseConv2D(5, use_bias=False),
        layers.BatchNormalization(axis=1, momentum=0.9),
        layers.Flatten(),
        layers.Dropout(0.1),
    ]
