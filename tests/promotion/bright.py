"""Models that tell bright pictures from dark ones, written by hand, and pictures for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from modelpad.bundle import Bundle, open_bundle, write_bundle
from modelpad.fields import Image, Label, Signature
from tests.table_bundles import constant, write_model

FIELD = Image("image", 8, 8, 3)
SIGNATURE = Signature((FIELD,), (Label("shade", ("bright", "dark")),))


def write_bright(folder: Path, threshold: float, data: str = "") -> Bundle:
    """Pictures are bright if their mean is above `threshold`; `data` is what it was trained on."""
    from onnx import TensorProto, helper

    nodes = [
        constant("threshold", np.array(threshold, np.float32)),
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Sub", ["mean", "threshold"], ["over"]),
        helper.make_node("Neg", ["over"], ["under"]),
        constant("last", np.array([-1], np.int64)),
        helper.make_node("Unsqueeze", ["over", "last"], ["bright"]),
        helper.make_node("Unsqueeze", ["under", "last"], ["dark"]),
        helper.make_node("Concat", ["bright", "dark"], ["shade"], axis=-1),
    ]
    number = TensorProto.FLOAT
    inputs, outputs = [("image", number, [8, 8, 3])], [("shade", number, [2])]
    made = write_model(folder, f"shades-{threshold:g}", SIGNATURE, nodes, inputs, outputs, [])
    manifest = replace(made.manifest, name="shades", training={"data": data} if data else {})
    files = {name: made.path(name) for name in made.manifest.files}
    write_bundle(folder / f"named-{threshold:g}", manifest, files)
    return open_bundle(folder / f"named-{threshold:g}")


def encode_shade(value: float) -> bytes:
    """A picture of one shade, 0 to 255."""
    return FIELD.encode_png(np.full((8, 8, 3), value, np.float32))


def write_pictures(folder: Path, values: range = range(0, 256, 5)) -> Path:
    """Class folders of pictures; those above 127 are bright."""
    for value in values:
        path = folder / ("bright" if value > 127 else "dark") / f"{value}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_shade(value))
    return folder
