"""LightGBM's own model files, and live boosters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from modelpad.convert.archives import unreadable
from modelpad.convert.source import Arrays, ImportRequest, TensorSpec
from modelpad.errors import MissingExtra


def open_lightgbm(path: Path, request: ImportRequest) -> LightGBMSource:
    """The booster in a text file. Raises `ConversionFailed` when it is none."""
    lightgbm = load_lightgbm()
    try:
        return LightGBMSource(lightgbm.Booster(model_file=str(path)))
    except lightgbm.basic.LightGBMError as error:
        raise unreadable(path, str(error)[:200]) from error


def load_lightgbm() -> Any:
    """LightGBM. Raises `MissingExtra`."""
    try:
        import lightgbm
    except (ImportError, OSError) as error:
        raise MissingExtra("lightgbm", extra="lightgbm") from error
    return lightgbm


class LightGBMSource:
    """A booster; a classifier answers probabilities of all classes."""

    framework = "lightgbm"
    scales_itself = False

    def __init__(self, booster: Any) -> None:
        lightgbm = load_lightgbm()
        self.booster = booster
        text = booster.model_to_string()
        objective = next(
            (line for line in text.splitlines() if line.startswith("objective=")), "objective=none"
        )
        self.objective = objective.partition("=")[2].split()[0]
        count = booster.num_model_per_iteration()
        self.binary = self.objective in ("binary", "cross_entropy")
        classes = 2 if self.binary else count if count > 1 else 0
        self.classes: tuple[str, ...] = tuple(str(number) for number in range(classes))
        self.inputs = (TensorSpec("input", "float32", (None, booster.num_feature())),)
        name = "probabilities" if classes else "output"
        self.outputs = (TensorSpec(name, "float32", (None, classes or 1)),)
        self.facts: Mapping[str, Any] = {
            "model": self.objective,
            "trees": booster.num_trees(),
            "lightgbm": lightgbm.__version__,
        }

    def run(self, batch: Arrays) -> Arrays:
        """The booster's own answers."""
        answer = np.asarray(self.booster.predict(next(iter(batch.values()))))
        if self.binary:
            answer = np.stack([1 - answer, answer], axis=1)
        return {self.outputs[0].name: answer.reshape(len(answer), -1).astype(np.float32)}

    def export(self) -> Any:
        """The graph by onnxmltools."""
        try:
            from onnxmltools import convert_lightgbm
        except ImportError as error:
            raise MissingExtra("onnxmltools", extra="lightgbm") from error
        from modelpad.convert.xgboost import convert_trees

        how = {"zipmap": False} if self.classes else {}
        return convert_trees(convert_lightgbm, self.booster, self.inputs[0], self.outputs[0], **how)

    def files(self) -> Mapping[str, bytes | Path]:
        """The booster's own file."""
        return {"lightgbm.txt": self.booster.model_to_string().encode("utf-8")}
