"""The golden bundle: its bytes on disk never change."""

from __future__ import annotations

from pathlib import Path

from modelpad.bundle import Manifest, Sample
from modelpad.fields import Label, Signature, Sketch, Tensor

GOLDEN = Path(__file__).parent / "golden"


def golden_manifest() -> Manifest:
    return Manifest(
        name="golden",
        task="image-classification",
        title="Golden",
        summary="A bundle whose bytes never change.",
        licence="CC0-1.0",
        created="2026-01-02T03:04:05+00:00",
        signature=Signature(
            (Sketch(), Tensor("bias", "float32", (None, 3))), (Label("label", ("a", "b")),)
        ),
        source={"framework": "keras"},
        training={"epochs": 3},
        metrics={"test_accuracy": 0.5},
        parity={"largest_difference": 0.0},
        samples=(
            Sample({"image": {"file": "samples/a.png"}, "bias": {"value": [[1, 2, 3]]}}, "a"),
        ),
    )


FILES = {"model.onnx": b"graph", "samples/a.png": b"picture"}
