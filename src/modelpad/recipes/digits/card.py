"""The card: what the model was trained on, how well it does, and what it cannot do."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelpad.recipes.digits.data import Splits
from modelpad.recipes.digits.options import TrainOptions
from modelpad.recipes.digits.report import count_confusion


def write_card(
    options: TrainOptions,
    material: Splits,
    model: Any,
    history: list[dict[str, float]],
    metrics: dict[str, float],
    facts: dict[str, Any],
    guesses: NDArray[np.int64],
) -> dict[str, Any]:
    """The content of `card.json`."""
    classes = list(material.data.classes)
    digits = material.sketch
    data = [describe_data(material)]
    if material.pens is not None:
        data.append(
            {
                "name": "Pen-Based Recognition of Handwritten Digits (Alpaydin, Alimoglu 1998)",
                "examples": len(material.pens),
                "licence": "CC BY 4.0",
                "role": "strokes of other writers learned from; these drawings only tested",
            }
        )
    schedule = options.schedule
    return {
        "title": "Handwritten digits" if digits else options.name.replace("-", " ").capitalize(),
        "summary": "Draw a digit and it is recognised."
        if digits
        else f"Tells {len(classes)} classes of pictures apart: {', '.join(classes[:8])}.",
        "data": data,
        "architecture": ", ".join(layer.name for layer in model.layers),
        "parameters": int(model.count_params()),
        "training": {
            "architecture": options.architecture,
            "data": material.data.name,
            "optimizer": {"best": "AdamW", "conv": "Adadelta", "mini": "RMSprop", "mlp": "Adam"}[
                options.architecture
            ],
            "epochs": len(history),
            "batch_size": schedule.batch_size,
            "augmentation": schedule.augmentation,
            "precision": facts["policy"],
            "seconds": facts["seconds"],
            "seed": options.seed,
        },
        "metrics": metrics,
        "history": [{key: round(value, 5) for key, value in row.items()} for row in history],
        "confusion": {
            "labels": classes,
            "matrix": count_confusion(material.test.labels, guesses, len(classes)).tolist(),
        },
        "limits": describe_limits(digits),
        "notes": [
            *material.notes,
            "The test set was touched once, after the training, and chose nothing.",
        ],
        "pictures": [{"title": "Worst mistakes", "file": "report/mistakes.png"}],
    }


def describe_data(material: Splits) -> dict[str, Any]:
    """A row on the data set."""
    data = material.data
    splits = f"{len(data.train):,} to learn from"
    if data.test is not None:
        splits += f", {len(data.test):,} to test"
    return {
        "name": data.title,
        "examples": sum(len(split) for split in data.splits().values()),
        "licence": data.licence,
        "role": splits,
    }


def describe_limits(digits: bool) -> list[str]:
    """What the model cannot do, in words."""
    if digits:
        return [
            "One digit at a time; anything else is answered as the digit that it resembles most.",
            "It learned from pens on paper and tablets; finger paintings may differ.",
        ]
    return ["Anything that is none of its classes is answered as one of them all the same."]
