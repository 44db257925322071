"""A model that makes a picture of a picture, written by hand: quick to make and to run."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from PIL import Image as Pillow

from modelpad.bundle import Manifest, Sample, write_bundle
from modelpad.fields import Image, Number, Signature
from modelpad.fields.blend import Blend
from modelpad.fields.signature import Binding
from modelpad.fields.steps import Cast

STYLES = ("wave", "scream")
SIZE = (40, 24)  # of the example


def write_tinting(folder: Path) -> Path:
    """The bundle of a model that mixes a picture with the colour of its styles by `strength`."""
    number = TensorProto.FLOAT
    shapes: dict[str, list[str | int | None]] = {
        **{"image": ["height", "width", 3], "style": [2]},
        **{"strength": [], "preserve_colour": []},
    }
    colours = numpy_helper.from_array(np.array([[40, 90, 200], [230, 90, 30]], "f4"), "colours")
    one = numpy_helper.from_array(np.array(1, "f4"), "one")
    nodes = [
        helper.make_node("MatMul", ["style", "colours"], ["tint"]),
        helper.make_node("Sub", ["one", "preserve_colour"], ["left"]),
        helper.make_node("Mul", ["strength", "left"], ["share"]),
        helper.make_node("Sub", ["tint", "image"], ["change"]),
        helper.make_node("Mul", ["change", "share"], ["applied"]),
        helper.make_node("Add", ["image", "applied"], ["picture"]),
    ]
    inputs = [helper.make_tensor_value_info(name, number, sides) for name, sides in shapes.items()]
    outputs = [helper.make_tensor_value_info("picture", number, shapes["image"])]
    graph = helper.make_graph(nodes, "tint", inputs, outputs, [colours, one])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    cast = (Cast("float32"),)
    files = {f"samples/style-{index}.png": _write((96, 96), index) for index in range(2)}
    signature = Signature(
        (
            Image("image", height=None, width=None),
            Blend("style", STYLES, tuple(files)),
            Number("strength", minimum=0, maximum=1, default=1.0),
            Number("preserve_colour", minimum=0, maximum=1, default=0.0),
        ),
        (Image("picture", height=None, width=None),),
        (
            *(Binding("image", batch_axis=None), Binding("style", batch_axis=None)),
            *(Binding(name, cast, batch_axis=None) for name in ("strength", "preserve_colour")),
        ),
        (Binding("picture", batch_axis=None),),
        batched=False,
    )
    sample = Sample({"image": {"file": "samples/0.png"}, "style": {"value": "scream"}})
    files |= {"samples/0.png": _write(SIZE, 2), "model.onnx": model.SerializeToString()}
    manifest = Manifest("tint", "image-to-image", signature, title="Tints", samples=(sample,))
    return write_bundle(folder / "tint", manifest, files).folder


def _write(size: tuple[int, int], seed: int) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3)).astype(np.uint8)
    file = io.BytesIO()
    Pillow.fromarray(coarse).resize(size).save(file, "PNG")
    return file.getvalue()
