"""Twenty small models of six frameworks, under the names that documented clients ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Arrays = list[Any]
# The framework's own outputs for its own inputs, both in the model's order.
Answer = Callable[[Arrays], Arrays]

OPSET, IR = 17, 8


@dataclass(frozen=True)
class Example:
    """A model, its file, and how its framework is asked; `build` writes the file."""

    name: str
    file: str
    build: Callable[[Path], Answer]
    options: tuple[str, ...] = ()


def write_graph(path: Path, nodes: Any, inputs: Any, outputs: Any, constants: Any = None) -> None:
    """An ONNX file; tensors are (name, type, whole shape)."""
    from onnx import helper, numpy_helper, save_model

    graph = helper.make_graph(
        [helper.make_node(*node[:3], **(node[3] if len(node) > 3 else {})) for node in nodes],
        "graph",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(*each) for each in outputs],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    save_model(helper.make_model(graph, opset_imports=opsets, ir_version=IR), path)


def build_half_plus(number: float) -> Callable[[Path], Answer]:
    """TensorFlow Serving's half_plus_two and half_plus_three: `x` (batch,) to `y` (batch,)."""

    def build(path: Path) -> Answer:
        from onnx import TensorProto

        kind = TensorProto.FLOAT
        nodes = [("Mul", ["x", "half"], ["halved"]), ("Add", ["halved", "number"], ["y"])]
        constants = {
            "half": np.array(0.5, np.float32),
            "number": np.array(number, np.float32),
        }
        write_graph(path, nodes, [("x", kind, ["n"])], [("y", kind, ["n"])], constants)
        return lambda arrays: [arrays[0] * 0.5 + number]

    return build


def build_simple(path: Path) -> Answer:
    """Triton's `simple`: the sum and the difference of two rows of 16 integers."""
    from onnx import TensorProto

    kind = TensorProto.INT32
    nodes = [
        ("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]),
        ("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"]),
    ]
    inputs = [(f"INPUT{n}", kind, ["n", 16]) for n in (0, 1)]
    write_graph(path, nodes, inputs, [(f"OUTPUT{n}", kind, ["n", 16]) for n in (0, 1)])
    return lambda arrays: [arrays[0] + arrays[1], arrays[0] - arrays[1]]


def build_simple_string(path: Path) -> Answer:
    """Triton's `simple_string`: the same with numbers as text; other text fails."""
    from onnx import TensorProto

    text, number = TensorProto.STRING, TensorProto.INT32
    nodes = [
        ("Cast", ["INPUT0"], ["first"], {"to": number}),
        ("Cast", ["INPUT1"], ["second"], {"to": number}),
        ("Add", ["first", "second"], ["sum"]),
        ("Sub", ["first", "second"], ["difference"]),
        ("Cast", ["sum"], ["OUTPUT0"], {"to": text}),
        ("Cast", ["difference"], ["OUTPUT1"], {"to": text}),
    ]
    inputs = [(f"INPUT{n}", text, ["n", 16]) for n in (0, 1)]
    write_graph(path, nodes, inputs, [(f"OUTPUT{n}", text, ["n", 16]) for n in (0, 1)])

    rows = np.arange(32).reshape(2, 16)
    np.savez(path.with_suffix(".npz"), INPUT0=rows.astype(str), INPUT1=(rows % 5).astype(str))

    def answer(arrays: Arrays) -> Arrays:
        first, second = (np.asarray(each).astype(np.int32) for each in arrays)
        return [(first + second).astype(str), (first - second).astype(str)]

    return answer


def build_identity(*sides: int | str) -> Callable[[Path], Answer]:
    """Triton's `simple_identity`: text of that whole shape, unchanged."""

    def build(path: Path) -> Answer:
        from onnx import TensorProto

        shape = list(sides)
        write_graph(
            path,
            [("Identity", ["INPUT0"], ["OUTPUT0"])],
            [("INPUT0", TensorProto.STRING, shape)],
            [("OUTPUT0", TensorProto.STRING, shape)],
        )
        return lambda arrays: arrays

    return build


def build_tagged(path: Path) -> Answer:
    """The three inputs of TensorFlow Serving's documentation: text, a row, a square."""
    from onnx import TensorProto

    text, number, whole = TensorProto.STRING, TensorProto.FLOAT, TensorProto.INT64
    nodes = [
        ("Identity", ["tag"], ["tagged"]),
        ("ReduceSum", ["signal", "last"], ["total"], {"keepdims": 0}),
        ("Gather", ["sensor", "first"], ["corner/first:0"], {"axis": 1}),
    ]
    inputs = [
        ("tag", text, ["n"]),
        ("signal", number, ["n", 5]),
        ("sensor", whole, ["n", 2, 2]),
    ]
    outputs = [
        ("tagged", text, ["n"]),
        ("total", number, ["n"]),
        ("corner/first:0", whole, ["n", 2]),
    ]
    constants = {"last": np.array([1]), "first": np.array(0)}
    write_graph(path, nodes, inputs, outputs, constants)
    return lambda arrays: [arrays[0], arrays[1].sum(axis=1), arrays[2][:, 0]]


def build_classifier(path: Path) -> Answer:
    """Like Triton's `inception_onnx`: a picture, channels last, to four classes."""
    from onnx import TensorProto

    kind = TensorProto.FLOAT
    given, told = "input/pixels:0", "InceptionV3/Predictions/Softmax"
    nodes = [
        ("ReduceMean", [given], ["means"], {"axes": [1, 2], "keepdims": 0}),
        ("MatMul", ["means", "weights"], ["scores"]),
        ("Softmax", ["scores"], [told], {"axis": -1}),
    ]
    weights = np.linspace(-0.05, 0.05, 12, dtype=np.float32).reshape(3, 4)
    inputs, outputs = [(given, kind, ["n", 8, 8, 3])], [(told, kind, ["n", 4])]
    write_graph(path, nodes, inputs, outputs, {"weights": weights})

    def answer(arrays: Arrays) -> Arrays:
        scores = np.exp(arrays[0].mean(axis=(1, 2)) @ weights)
        return [scores / scores.sum(axis=1, keepdims=True)]

    return answer


def build_bert(path: Path) -> Answer:
    """The inputs and outputs of KServe's example of a transformer for BERT on Triton."""
    from onnx import TensorProto

    whole, number = TensorProto.INT32, TensorProto.FLOAT
    nodes = [
        ("Mul", ["input_ids", "input_mask"], ["masked"]),
        ("Add", ["masked", "segment_ids"], ["marked"]),
        ("Add", ["marked", "unique_ids"], ["summed"]),
        ("Cast", ["summed"], ["start_logits"], {"to": number}),
        ("Neg", ["start_logits"], ["end_logits"]),
    ]
    rows = ("segment_ids", "input_ids", "input_mask")
    inputs = [("unique_ids", whole, ["n", 1]), *((name, whole, ["n", 8]) for name in rows)]
    outputs = [(f"{name}_logits", number, ["n", 8]) for name in ("start", "end")]
    write_graph(path, nodes, inputs, outputs)

    def answer(arrays: Arrays) -> Arrays:
        unique, segments, ids, mask = arrays
        start = (ids * mask + segments + unique).astype(np.float32)
        return [start, -start]

    return answer


def build_style(path: Path) -> Answer:
    """KServe's style transfer: one picture at a time, its size free. Here it inverts colours."""
    from onnx import TensorProto

    kind = TensorProto.FLOAT
    shape = [1, 3, "height", "width"]
    constants = {"white": np.array(255, np.float32)}
    nodes = [("Sub", ["white", "input1"], ["output1"])]
    write_graph(path, nodes, [("input1", kind, shape)], [("output1", kind, shape)], constants)
    return lambda arrays: [255 - arrays[0]]


def make_rows(count: int = 64, width: int = 4) -> Any:
    return np.random.default_rng(7).normal(size=(count, width)).astype(np.float32)


def build_torch(*sides: int) -> Callable[[Path], Answer]:
    """A linear layer on flattened items, exported by PyTorch."""

    def build(path: Path) -> Answer:
        import torch

        torch.manual_seed(1)
        size = int(np.prod(sides))
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(size, 5)).eval()
        batch = torch.export.Dim("batch")
        exported = torch.export.export(net, (torch.rand(2, *sides),), dynamic_shapes=({0: batch},))
        torch.export.save(exported, path)

        def answer(arrays: Arrays) -> Arrays:
            with torch.no_grad():
                return [net(torch.as_tensor(arrays[0])).numpy()]

        return answer

    return build


def build_keras(given: str, told: str, *sides: int) -> Callable[[Path], Answer]:
    """A softmax layer on flattened items; its tensors have these names."""

    def build(path: Path) -> Answer:
        import keras

        keras.utils.set_random_seed(1)
        start = keras.Input(sides, name=given)
        hidden = keras.layers.Dense(3)(keras.layers.Flatten()(start))
        model = keras.Model(start, keras.layers.Activation("softmax", name=told)(hidden))
        model.save(path)
        return lambda arrays: [model.predict(arrays[0], verbose=0)]

    return build


def load_iris() -> tuple[Any, Any]:
    from sklearn.datasets import load_iris as load

    rows, kinds = load(return_X_y=True)
    return rows.astype(np.float32), kinds


def build_svc(path: Path) -> Answer:
    """KServe's iris: a support vector classifier."""
    from sklearn.svm import SVC

    rows, kinds = load_iris()
    return save_estimator(path, SVC(gamma="scale").fit(rows, kinds))


def build_digits_svc(path: Path) -> Answer:
    """MLServer's digits, as a support vector classifier of fewer columns."""
    from sklearn.svm import SVC

    rows = make_rows()
    return save_estimator(path, SVC(gamma=0.001).fit(rows, (rows.sum(axis=1) > 0).astype(int)))


def build_regression(path: Path) -> Answer:
    """A linear regression."""
    from sklearn.linear_model import LinearRegression

    rows = make_rows()
    return save_estimator(path, LinearRegression().fit(rows, rows @ np.arange(4)))


def save_estimator(path: Path, estimator: Any) -> Answer:
    import skops.io

    skops.io.dump(estimator, path)
    return lambda arrays: [estimator.predict(arrays[0])]


def build_xgboost(path: Path) -> Answer:
    """KServe's iris: a booster that answers the class."""
    import xgboost

    rows, kinds = load_iris()
    options = {"objective": "multi:softmax", "num_class": 3, "max_depth": 2, "nthread": 1}
    booster = xgboost.train(options, xgboost.DMatrix(rows, kinds), num_boost_round=5)
    booster.save_model(path)
    return lambda arrays: [booster.predict(xgboost.DMatrix(arrays[0]))]


def build_lightgbm(path: Path) -> Answer:
    """KServe's iris: a booster that answers the classes' probabilities."""
    import lightgbm

    rows, kinds = load_iris()
    options = {"objective": "multiclass", "num_class": 3, "num_threads": 1, "verbose": -1}
    booster = lightgbm.train(options, lightgbm.Dataset(rows, kinds), num_boost_round=5)
    booster.save_model(path)
    return lambda arrays: [booster.predict(arrays[0])]


PICTURE = ("--input", "image:8x8x3,scale=none", "--output", "labels:cat,dog,bird,fish")
AS_TENSOR = ("--input", "tensor")
NUMBERS = (
    *("--input", "INPUT0=tensor", "--input", "INPUT1=tensor"),
    *("--samples", "{folder}/simple_string.npz"),
)
EXAMPLES: Sequence[Example] = (
    Example("half_plus_two", "half_plus_two.onnx", build_half_plus(2)),
    Example("saved_model_half_plus_three", "half_plus_three.onnx", build_half_plus(3)),
    Example("simple", "simple.onnx", build_simple),
    Example("simple_string", "simple_string.onnx", build_simple_string, NUMBERS),
    Example("simple_identity", "simple_identity.onnx", build_identity("n", "words")),
    Example("simple_words", "simple_words.onnx", build_identity("n", 1)),
    Example("tagged", "tagged.onnx", build_tagged),
    Example("inception_onnx", "inception_onnx.onnx", build_classifier, PICTURE),
    Example("bert", "bert.onnx", build_bert),
    Example("style", "style.onnx", build_style, AS_TENSOR),
    Example("cifar10", "cifar10.pt2", build_torch(3, 4, 4), AS_TENSOR),
    Example("torch-table", "table.pt2", build_torch(4)),
    Example("mnist", "mnist.keras", build_keras("images", "scores", 4)),
    Example("resnet", "resnet.keras", build_keras("input_1", "activation_49", 3, 3, 3), AS_TENSOR),
    Example("keras-table", "table.keras", build_keras("features", "answers", 4)),
    Example("sklearn-iris", "iris.skops", build_svc),
    Example("mnist-svm", "digits.skops", build_digits_svc),
    Example("sklearn-diabetes", "regression.skops", build_regression),
    Example("xgboost-iris", "iris.json", build_xgboost),
    Example("lightgbm-iris", "iris.txt", build_lightgbm),
)
