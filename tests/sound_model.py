"""A model of sound, written by hand: whether a second at 16 kHz is loud."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from modelpad.fields.sound import write_sound

RATE = 16_000
TIMES = np.arange(RATE) / RATE
LOUD = write_sound(np.sin(2 * np.pi * 440 * TIMES) / 2, RATE)
QUIET = write_sound(np.sin(2 * np.pi * 440 * TIMES) / 200, RATE)


def write_sound_model(path: Path) -> Path:
    """An ONNX file: (items, 16000, 1) to logits of quiet and loud, from the mean square."""
    from onnx import TensorProto, helper, numpy_helper, save_model

    real = TensorProto.FLOAT
    constants: dict[str, Any] = {
        "axes": np.array([1, 2], np.int64),
        "last": np.array([1], np.int64),
        "limit": np.array(0.001, np.float32),
        "signs": np.array([[-1000, 1000]], np.float32),
    }
    nodes = [
        helper.make_node("Mul", ["sound", "sound"], ["squares"]),
        helper.make_node("ReduceMean", ["squares", "axes"], ["power"], keepdims=0),
        helper.make_node("Sub", ["power", "limit"], ["over"]),
        helper.make_node("Unsqueeze", ["over", "last"], ["column"]),
        helper.make_node("Mul", ["column", "signs"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "sound",
        [helper.make_tensor_value_info("sound", real, ["items", RATE, 1])],
        [helper.make_tensor_value_info("logits", real, ["items", 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 18)]
    save_model(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path
