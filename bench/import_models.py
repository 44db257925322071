"""Imports models of many kinds, random or just trained, and prints how near the graph is to each.

For each: the largest difference to the source model at batches of 1 and 7, agreement of labels, the
size of the graph, and milliseconds of one prediction on one thread, of the graph and of the source.
`--table` prints the table of docs/import.md. Name models to import only these. Needs the extras of
all frameworks, as `dev` has them.

usage: python bench/import_models.py [MODEL...] [--table]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np

from modelpad.convert import ImportRequest, convert_model, open_object
from modelpad.engine.typed import TypedInputs

Made = tuple[Any, ImportRequest, Any]


# Of keras.applications: the side of its images, and the range of their pixels where the model does
# not scale them itself. Keras has no NASNet on PyTorch.
APPLICATIONS: dict[str, tuple[int, str]] = {
    "ConvNeXtTiny": (224, ""),
    "ConvNeXtSmall": (224, ""),
    "ConvNeXtBase": (224, ""),
    "ConvNeXtLarge": (224, ""),
    "ConvNeXtXLarge": (224, ""),
    "DenseNet121": (224, "imagenet"),
    "DenseNet169": (224, "imagenet"),
    "DenseNet201": (224, "imagenet"),
    "EfficientNetB0": (224, ""),
    "EfficientNetB1": (240, ""),
    "EfficientNetB2": (260, ""),
    "EfficientNetB3": (300, ""),
    "EfficientNetB4": (380, ""),
    "EfficientNetB5": (456, ""),
    "EfficientNetB6": (528, ""),
    "EfficientNetB7": (600, ""),
    "EfficientNetV2B0": (224, ""),
    "EfficientNetV2B1": (240, ""),
    "EfficientNetV2B2": (260, ""),
    "EfficientNetV2B3": (300, ""),
    "EfficientNetV2S": (384, ""),
    "EfficientNetV2M": (480, ""),
    "EfficientNetV2L": (480, ""),
    "InceptionResNetV2": (299, "-1..1"),
    "InceptionV3": (299, "-1..1"),
    "MobileNet": (224, "-1..1"),
    "MobileNetV2": (224, "-1..1"),
    "MobileNetV3Large": (224, ""),
    "MobileNetV3Small": (224, ""),
    "ResNet50": (224, "caffe"),
    "ResNet101": (224, "caffe"),
    "ResNet152": (224, "caffe"),
    "ResNet50V2": (224, "-1..1"),
    "ResNet101V2": (224, "-1..1"),
    "ResNet152V2": (224, "-1..1"),
    "VGG16": (224, "caffe"),
    "VGG19": (224, "caffe"),
    "Xception": (299, "-1..1"),
}
SHIFT = 2.0  # of activations, in standard deviations
LIMITS = {"": (0, 255), "-1..1": (-1, 1), "caffe": (-124, 151), "imagenet": (-2.1, 2.6)}


def application(name: str) -> Callable[[], Made]:
    """One of `keras.applications`, with random weights."""
    side, scale = APPLICATIONS[name]

    def make() -> Made:
        import keras

        keras.utils.set_random_seed(0)
        keras.config.set_image_data_format("channels_last")
        model = getattr(keras.applications, name)(weights=None, classes=1000)
        enliven(model, side, LIMITS[scale])
        words = f"image:{side}x{side}x3" + (f",scale={scale}" if scale else "")
        return model, ImportRequest(inputs=(words,)), None

    return make


def enliven(model: Any, side: int, limits: tuple[float, float]) -> None:
    """Random weights that let signals through, as trained ones do: without, all answers are alike.

    Kernels as He et al. (2015) draw them; normalisations take the statistics of random pictures.
    They shift most activations into their linear range: else a hundred random layers amplify
    rounding errors until nothing else is left (Yang et al., 2019, "A mean field theory of batch
    normalization"), which trained networks do not.
    """
    import torch

    rng = np.random.default_rng(0)
    normalisations = [layer for layer in model._flatten_layers() if hasattr(layer, "moving_mean")]
    for layer in model._flatten_layers():
        kernel = getattr(layer, "kernel", None)
        if kernel is not None and not hasattr(layer, "moving_mean"):
            fan = int(np.prod(kernel.shape[:-1]))
            fan = int(np.prod(kernel.shape[:2])) if "depthwise" in layer.name else fan
            kernel.assign(rng.normal(0, np.sqrt(2 / fan), tuple(kernel.shape)).astype(np.float32))
    for layer in normalisations:
        layer.momentum = 0.0
        if layer.center:
            layer.beta.assign(np.full(layer.beta.shape, SHIFT, np.float32))
    if normalisations:
        coarse = rng.uniform(*limits, (8, 8, 8, 3)).astype(np.float32)
        cells = -(-side // 8)
        pictures = coarse.repeat(cells, axis=1).repeat(cells, axis=2)[:, :side, :side]
        with torch.no_grad():
            model(pictures, training=True)


def keras_digits() -> Made:
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )
    return model, ImportRequest(inputs=("sketch:28x28,scale=0..1",)), None


def keras_text() -> Made:
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            layers.Input((200,), dtype="int32"),
            layers.Embedding(20_000, 128),
            layers.LSTM(128, dropout=0.2),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    return model, ImportRequest(outputs=("labels:negative,positive",)), None


def keras_several() -> Made:
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(0)
    row, picture = layers.Input((12,), name="row"), layers.Input((64, 64, 3), name="picture")
    seen = layers.Conv2D(16, 3, strides=2, activation="relu")(picture)
    seen = layers.BatchNormalization()(layers.Conv2D(32, 3, activation="relu")(seen))
    both = layers.Concatenate()([layers.GlobalAveragePooling2D()(seen), layers.Dense(16)(row)])
    outputs = [layers.Dense(5, activation="softmax", name="kind")(both)]
    outputs.append(layers.Dense(1, name="price")(both))
    request = ImportRequest(inputs=("picture=image:64x64x3,scale=0..1",))
    return keras.Model([row, picture], outputs), request, None


def torch_transformer() -> Made:
    import torch

    torch.manual_seed(0)
    n = torch.nn

    class Encoder(n.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.words, self.places = n.Embedding(5000, 128), n.Embedding(64, 128)
            layer = n.TransformerEncoderLayer(128, 4, 256, batch_first=True, activation="gelu")
            self.encoder = n.TransformerEncoder(layer, 4, enable_nested_tensor=False)
            self.head = n.Linear(128, 6)

        def forward(self, tokens: Any) -> Any:
            places = self.places(torch.arange(tokens.shape[1]))
            return self.head(self.encoder(self.words(tokens) + places).mean(dim=1))

    request = ImportRequest(
        inputs=("tokens=tensor:int64[64],range=0..4999",),
        outputs=("labels:a,b,c,d,e,f,from=logits",),
    )
    return Encoder().eval(), request, torch.randint(0, 5000, (2, 64))


def torch_unet() -> Made:
    import torch

    torch.manual_seed(0)
    n = torch.nn

    def block(taken: int, given: int) -> Any:
        first = [n.Conv2d(taken, given, 3, padding=1), n.BatchNorm2d(given), n.ReLU()]
        return n.Sequential(*first, n.Conv2d(given, given, 3, padding=1), n.ReLU())

    class UNet(n.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.down = n.ModuleList([block(3, 16), block(16, 32), block(32, 64)])
            self.deep = block(64, 128)
            sizes = [(128, 64), (64, 32), (32, 16)]
            self.rise = n.ModuleList([n.ConvTranspose2d(a, b, 2, stride=2) for a, b in sizes])
            self.up = n.ModuleList([block(a, b) for a, b in sizes])
            self.last = n.Conv2d(16, 1, 1)

        def forward(self, x: Any) -> Any:
            kept = []
            for each in self.down:
                x = each(x)
                kept.append(x)
                x = n.functional.max_pool2d(x, 2)
            x = self.deep(x)
            for rise, up in zip(self.rise, self.up, strict=True):
                x = up(torch.cat([rise(x), kept.pop()], dim=1))
            return self.last(x).sigmoid()

    request = ImportRequest(inputs=("image:128x128x3,scale=0..1",), outputs=("image,scale=0..1",))
    return UNet().eval(), request, torch.rand(2, 3, 128, 128)


def torch_recurrent() -> Made:
    import torch

    torch.manual_seed(0)
    n = torch.nn

    class Tagger(n.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.recurrence = n.GRU(16, 64, num_layers=2, bidirectional=True, batch_first=True)
            self.head = n.Linear(128, 4)

        def forward(self, steps: Any) -> Any:
            return self.head(self.recurrence(steps)[0])

    return Tagger().eval(), ImportRequest(), torch.rand(2, 50, 16)


def sklearn_forest() -> Made:
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data = load_breast_cancer()
    model = make_pipeline(StandardScaler(), GradientBoostingClassifier(random_state=0))
    model.fit(data.data, data.target_names[data.target])
    return model, ImportRequest(samples=data.data[::10]), None


def sklearn_text() -> Made:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    good, bad = ["a good film", "what a great evening", "I loved it"], ["bad", "awful thing", "no"]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression())
    return model.fit(good + bad, ["good"] * 3 + ["bad"] * 3), ImportRequest(), None


def sklearn_regression() -> Made:
    from sklearn.datasets import load_diabetes
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data = load_diabetes()
    model = make_pipeline(
        StandardScaler(), MLPRegressor(hidden_layer_sizes=(64, 32), max_iter=300, random_state=0)
    )
    return model.fit(data.data, data.target), ImportRequest(samples=data.data[::10]), None


def xgboost_trees() -> Made:
    import xgboost
    from sklearn.datasets import load_iris

    data = load_iris()
    options = {"objective": "multi:softprob", "num_class": 3, "max_depth": 4}
    model = xgboost.train(options, xgboost.DMatrix(data.data, data.target), 100)
    return model, ImportRequest(samples=data.data[::5], outputs=("labels:0,1,2",)), None


def lightgbm_trees() -> Made:
    import lightgbm
    from sklearn.datasets import load_iris

    data = load_iris()
    model = lightgbm.LGBMClassifier(n_estimators=100, verbose=-1).fit(data.data, data.target)
    return model, ImportRequest(samples=data.data[::5]), None


MODELS: dict[str, Callable[[], Made]] = {
    **{f"Keras {name}": application(name) for name in APPLICATIONS},
    "Keras classic CNN": keras_digits,
    "Keras LSTM text classifier": keras_text,
    "Keras two inputs, two outputs": keras_several,
    "PyTorch transformer encoder": torch_transformer,
    "PyTorch U-Net": torch_unet,
    "PyTorch bidirectional GRU": torch_recurrent,
    "scikit-learn scaler + boosted forest": sklearn_forest,
    "scikit-learn TF-IDF + regression": sklearn_text,
    "scikit-learn scaler + MLP regressor": sklearn_regression,
    "XGBoost, 100 rounds": xgboost_trees,
    "LightGBM, 100 rounds": lightgbm_trees,
}


def measure(name: str) -> dict[str, Any]:
    """Imports one model."""
    model, request, example = MODELS[name]()
    source = open_object(model, request, example)
    begin = time.perf_counter()
    conversion = convert_model(source, "bench", request)
    seconds = time.perf_counter() - begin
    signature, files = conversion.manifest.signature, conversion.files
    values = {
        name: files[str(value["file"])] if "file" in value else value["value"]
        for name, value in conversion.manifest.samples[0].inputs.items()
    }
    batch = TypedInputs(signature.inputs, signature.input_bindings).decode(values)
    times = []
    for _ in range(7):
        start = time.perf_counter()
        source.run(batch)
        times.append(time.perf_counter() - start)
    parity = conversion.parity
    return {
        "parameters": source.facts.get("parameters"),
        "difference": parity.largest_difference,
        "relative": parity.relative_difference,
        "agreement": parity.label_agreement,
        "megabytes": round(conversion.facts.bytes / 1e6, 3),
        "graph_ms": round(conversion.facts.latency_ms, 3),
        "source_ms": round(1000 * statistics.median(times), 3),
        "seconds": round(seconds, 1),
    }


def measure_apart(name: str) -> dict[str, Any] | str:
    """Imports one model in a process of its own, for its memory; else why it failed."""
    command = [sys.executable, __file__, "--one", name]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


HEAD = (
    "| model | difference | relative | labels agree | graph, MB | graph, ms | source, ms"
    " | import, s |"
    "\n| --- | --- | --- | --- | --- | --- | --- | --- |"
)


def write_row(name: str, row: dict[str, Any]) -> str:
    """A row of the table, in Markdown."""
    agree = "" if row["agreement"] is None else f"{100 * row['agreement']:.1f} %"
    return (
        f"| {name} | {row['difference']:.1e} | {row['relative']:.1e} | {agree} |"
        f" {row['megabytes']:.2f} | {row['graph_ms']:.2f} | {row['source_ms']:.2f} |"
        f" {row['seconds']:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(MODELS), metavar="MODEL")
    parser.add_argument("--table", action="store_true", help="print the table, not JSON")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        import torch

        np.random.seed(0)
        torch.set_num_threads(1)
        print(json.dumps(measure(args.one)))
        return
    rows, failed = {}, {}
    if args.table:
        print(HEAD, flush=True)
    for name in args.models:
        print(f"{name} ...", file=sys.stderr, flush=True)
        row = measure_apart(name)
        if isinstance(row, str):
            failed[name] = row
            print(f"  failed: {row}", file=sys.stderr)
            continue
        rows[name] = row
        if args.table:
            print(write_row(name, row), flush=True)
    if not args.table:
        print(json.dumps(rows, indent=1))
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
