"""LightGBM boosters, in memory or from LightGBM's own files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from modelpad.convert.archives import unreadable
from modelpad.convert.source import ImportRequest, TensorSpec
from modelpad.convert.trees import convert_trees
from modelpad.errors import MissingExtra
from modelpad.fields.arrays import Arrays
from modelpad.foreign_json import Json

if TYPE_CHECKING:
    from lightgbm import Booster
    from onnx import ModelProto


def open_lightgbm(path: Path, request: ImportRequest) -> LightGBMSource:
    """The booster in a text file. Raises `ConversionFailed` if it is not one."""
    lightgbm = load_lightgbm()
    try:
        return LightGBMSource(lightgbm.Booster(model_file=str(path)))
    except lightgbm.basic.LightGBMError as error:
        raise unreadable(path, str(error)[:200]) from error


def load_lightgbm() -> ModuleType:
    """The `lightgbm` package. Raises `MissingExtra`."""
    try:
        import lightgbm
    except (ImportError, OSError) as error:
        raise MissingExtra("lightgbm", extra="lightgbm") from error
    return lightgbm


class LightGBMSource:
    """A booster. A classifier's output is the probability of each class."""

    framework = "lightgbm"

    def __init__(self, booster: Booster, classes: Sequence[str] = ()) -> None:
        """`classes` are used if there is one for each of the booster's classes."""
        lightgbm = load_lightgbm()
        self.booster = booster
        text = booster.model_to_string()
        objective = next(
            (line for line in text.splitlines() if line.startswith("objective=")), "objective=none"
        )
        self.objective = objective.partition("=")[2].split()[0]
        count = booster.num_model_per_iteration()
        self.binary = self.objective in ("binary", "cross_entropy")
        count = 2 if self.binary else count if count > 1 else 0
        numbers = tuple(str(number) for number in range(count))
        self.classes = tuple(classes) if len(classes) == count else numbers
        self.inputs = (TensorSpec("input", "float32", (None, booster.num_feature())),)
        name = "probabilities" if count else "output"
        self.outputs = (TensorSpec(name, "float32", (None, count or 1)),)
        self.facts: Mapping[str, Json] = {
            "model": self.objective,
            "trees": booster.num_trees(),
            "lightgbm": lightgbm.__version__,
        }

    def run(self, batch: Arrays) -> Arrays:
        """The booster's outputs."""
        output = np.asarray(self.booster.predict(next(iter(batch.values()))))
        if self.binary:
            output = np.stack([1 - output, output], axis=1)
        return {self.outputs[0].name: output.reshape(len(output), -1).astype(np.float32)}

    def export(self) -> ModelProto:
        """The graph, exported by onnxmltools."""
        try:
            from onnxmltools import convert_lightgbm
        except ImportError as error:
            raise MissingExtra("onnxmltools", extra="lightgbm") from error
        options = {"zipmap": False} if self.classes else {}
        return convert_trees(
            convert_lightgbm, self.booster, self.inputs[0], self.outputs[0], **options
        )

    def hard_samples(self) -> Sequence[Arrays]:
        """None."""
        return ()

    def save(self, folder: Path) -> Path:
        """The booster as a file of LightGBM's own format in `folder`."""
        self.booster.save_model(folder / "model.txt")
        return folder / "model.txt"

    def files(self) -> Mapping[str, bytes | Path]:
        """The booster in LightGBM's own format."""
        return {"lightgbm.txt": self.booster.model_to_string().encode("utf-8")}
