"""What every peer does with a request: the same decoding, graph and response.

MODEL is the path of a graph that takes `image` (batch, 28, 28) or (batch, 28, 28, 1), 0..255, and
returns `label`.
"""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
from PIL import Image

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when the library is loaded
import onnxruntime

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(
    os.environ["MODEL"], options, providers=["CPUExecutionProvider"]
)
SHAPE = tuple(session.get_inputs()[0].shape[1:])


def decode(body: bytes, kind: str, loads: Any) -> np.ndarray:
    """A float32 array of one item, from raw float32, a PNG of that size, or JSON.

    The JSON is TensorFlow Serving's rows, the Open Inference Protocol's, or nested lists.
    """
    if kind == "application/octet-stream":
        return np.frombuffer(body, np.float32).reshape(SHAPE)
    if kind == "image/png":
        return np.asarray(Image.open(io.BytesIO(body)).convert("L"), np.float32).reshape(SHAPE)
    record = loads(body)
    if "instances" in record:
        (values,) = record["instances"]
    elif "inputs" in record:
        values = record["inputs"][0]["data"]
    else:
        values = record["image"]
    return np.array(values, np.float32).reshape(SHAPE)


def predict(batch: np.ndarray) -> np.ndarray:
    """Scores (batch, 10)."""
    return session.run(["label"], {"image": batch})[0]


def answer(scores: np.ndarray) -> dict[str, Any]:
    """The response, before it is encoded as JSON."""
    best = int(scores.argmax())
    return {"label": str(best), "scores": scores.tolist()}
