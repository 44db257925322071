"""Pages of several models in one folder, served on the loopback interface."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from modelpad.bundle import Bundle, Manifest, Sample, write_bundle
from modelpad.deploy.web.examples import generate_pictures, write_png
from modelpad.deploy.web.runtime import Runtime, load_runtime
from modelpad.errors import NotFound
from modelpad.fields import Binding, Image, Label, Score, Signature
from modelpad.fields.steps import Affine, Cast, ReverseChannels, Softmax, Transpose
from modelpad.locations import locate_cache


@pytest.fixture(scope="session")
def runtime() -> Runtime:
    """ONNX Runtime Web, from the user's cache or npm's registry."""
    try:
        return load_runtime(None, locate_cache(os.environ))
    except NotFound as error:
        pytest.skip(error.words)


def write_picture_model(folder: Path, name: str, field: Image, kind: str) -> Bundle:
    """A label from the colours of a picture's quarters; the graph takes NCHW of `kind`."""
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    channels, side = field.channels, field.height or 0
    weights = random.normal(0, 0.02, (channels * 4, 3)).astype(np.float32)
    # Differences within a part matter as much as its mean.
    taps = random.normal(0, 0.2, (channels, 1, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["picture"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["floats", "taps"], ["edges"], group=channels),
        helper.make_node("Abs", ["edges"], ["strong"]),
        helper.make_node("AveragePool", ["strong"], ["parts"], kernel_shape=[side // 2 - 1] * 2,
                         strides=[side // 2 - 1] * 2),
        helper.make_node("Flatten", ["parts"], ["row"]),
        helper.make_node("MatMul", ["row", "weights"], ["logits"]),
        helper.make_node("ReduceMax", ["logits"], ["most"], axes=[1], keepdims=0),
    ]  # fmt: skip
    dtype = TensorProto.UINT8 if kind == "uint8" else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("picture", dtype, ["batch", channels, side, side])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3]),
            helper.make_tensor_value_info("most", TensorProto.FLOAT, ["batch"]),
        ],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(taps, "taps")],
    )
    scale = (Cast("uint8"),) if kind == "uint8" else (Affine((1 / 127.5,) * channels, (-1.0,)),)
    channels_first = Transpose((0, 3, 1, 2))
    signature = Signature(
        (field,),
        (Label("label", ("cat", "dog", "owl")), Score("most")),
        (Binding("picture", (ReverseChannels(), *scale, channels_first)),),
        (Binding("logits", (Softmax(),)), Binding("most")),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    picture = write_png(next(generate_pictures(1, seed=7)))
    manifest = Manifest(
        name,
        "image-classification",
        signature,
        title=f"The {name}",
        samples=(Sample({field.name: {"file": "samples/0.png"}}, "cat"),),
    )
    files = {"model.onnx": model.SerializeToString(), "samples/0.png": picture}
    return write_bundle(folder / name, manifest, files)


FIELDS = {
    "cropped": (Image("photo", 32, 32, 3, "bicubic", "crop", 40), "float32"),
    "stretched": (Image("photo", 24, 24, 3, "bilinear", "stretch", None), "uint8"),
    "grey": (Image("photo", 28, 28, 1, "lanczos", "stretch", 30), "float32"),
    "nearest": (Image("photo", 20, 20, 3, "nearest", "crop", None), "float32"),
}


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """Models of pictures, for each filter and both ways to fit them."""
    folder = tmp_path_factory.mktemp("pictures")
    return {name: write_picture_model(folder, name, *field) for name, field in FIELDS.items()}
