"""A familiarity score as a second output of a Keras model, in Keras's own layers."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from modelpad.training.familiarity import TENSOR, Gauge, fit_familiarity


def add_familiarity(model: keras.Model, features: str, gauge: Gauge) -> keras.Model:
    """The model with a second output `familiarity` (N, 1), which needs no custom layer.

    `features` is the name of the layer whose output (N, D) the gauge was fitted on. Weights are
    shared with `model`.
    """
    x = model.get_layer(features).output
    count, width = gauge.directions.shape[1], gauge.directions.shape[0]
    # Standardises as (x - mean) / scale, without an epsilon of its own.
    normalize = layers.BatchNormalization(
        epsilon=0, center=False, scale=False, trainable=False, name="standardize"
    )
    y = normalize(x)
    normalize.set_weights([gauge.mean, np.square(gauge.scale)])
    nearness = _dense(y, gauge.kernel, gauge.bias, "nearness")
    classes = len(gauge.bias)
    nearest = layers.GlobalMaxPooling1D(name="nearest", data_format="channels_last")(
        layers.Reshape((classes, 1), name="by_class")(nearness)
    )
    distance = layers.Dot(axes=1, name="distance")([y, y])
    terms = [nearest]
    if count:
        along = _dense(y, gauge.directions, np.zeros(count, np.float32), "along")
        terms.append(layers.Dot(axes=1, name="correction")([along, along]))
    total = layers.Add(name="total")(terms) if len(terms) > 1 else nearest
    assert width == x.shape[-1], f"the gauge is for {width} features, not {x.shape[-1]}"
    familiarity = layers.Subtract(name=TENSOR)([total, distance])
    return keras.Model(model.inputs, [*model.outputs, familiarity], name=model.name)


def fit_keras(
    model: keras.Model,
    train: tuple[NDArray[np.float32], NDArray[np.int64]],
    validation: NDArray[np.float32],
) -> tuple[keras.Model, Gauge]:
    """The model with the output `familiarity`, fitted on what its last layer reads.

    `train` has items (N, ...) and labels (N,); `validation` has items that it was not trained on.
    """
    features = model.layers[-2].name
    reader = read_features(model, features)

    def read(items: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(reader.predict(items, batch_size=500, verbose=0), dtype=np.float32)

    gauge = fit_familiarity(read(train[0]), train[1], read(validation))
    return add_familiarity(model, features, gauge), gauge


def read_features(model: keras.Model, features: str) -> keras.Model:
    """The model up to the layer `features`; it shares the weights."""
    return keras.Model(model.inputs, model.get_layer(features).output)


def _dense(
    x: keras.KerasTensor, kernel: np.ndarray, bias: np.ndarray, name: str
) -> keras.KerasTensor:
    layer = layers.Dense(len(bias), name=name, trainable=False)
    output = layer(x)
    layer.set_weights([kernel, bias])
    return output
