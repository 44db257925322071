"""XGBoost boosters, in memory or from XGBoost's own files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from modelpad.convert.archives import unreadable
from modelpad.convert.source import ImportRequest, TensorSpec
from modelpad.convert.trees import convert_trees
from modelpad.errors import ConversionFailed, MissingExtra
from modelpad.fields.arrays import Arrays
from modelpad.foreign_json import Json

if TYPE_CHECKING:
    from onnx import ModelProto
    from xgboost import Booster


def open_xgboost(path: Path, request: ImportRequest) -> XGBoostSource:
    """The booster in a `.json` or `.ubj` file. Raises `ConversionFailed` if it is not one."""
    xgboost = load_xgboost()
    try:
        return XGBoostSource(xgboost.Booster(model_file=str(path)))
    except xgboost.core.XGBoostError as error:
        raise unreadable(path, str(error).strip().splitlines()[-1][:200]) from error


def load_xgboost() -> ModuleType:
    """The `xgboost` package. Raises `MissingExtra`."""
    try:
        import xgboost
    except ImportError as error:
        raise MissingExtra("xgboost", extra="xgboost") from error
    return xgboost


class XGBoostSource:
    """A booster. A classifier's output is the probability of each class."""

    framework = "xgboost"

    def __init__(self, booster: Booster, classes: Sequence[str] = ()) -> None:
        """`classes` are used if there is one for each of the booster's classes."""
        xgboost = load_xgboost()
        self.booster = booster
        learner = json.loads(booster.save_config())["learner"]
        self.objective = str(learner["objective"]["name"])
        count = int(learner["learner_model_param"]["num_class"])
        if self.objective.startswith("binary:"):
            count = 2
        numbers = tuple(str(number) for number in range(count)) if count > 1 else ()
        self.classes = tuple(classes) if len(classes) == len(numbers) else numbers
        self.inputs = (TensorSpec("input", "float32", (None, booster.num_features())),)
        name = "probabilities" if self.classes else "output"
        self.outputs = (TensorSpec(name, "float32", (None, count if self.classes else 1)),)
        self.facts: Mapping[str, Json] = {
            "model": self.objective,
            "trees": booster.num_boosted_rounds(),
            "xgboost": xgboost.__version__,
        }

    def run(self, batch: Arrays) -> Arrays:
        """The booster's outputs. Raises `ConversionFailed` if it has no probabilities."""
        data = load_xgboost().DMatrix(next(iter(batch.values())))
        if self.objective == "multi:softmax":  # predicts labels only, so use the margins
            margins = self.booster.predict(data, output_margin=True)
            powers = np.exp(margins - margins.max(axis=1, keepdims=True))
            output = powers / powers.sum(axis=1, keepdims=True)
        elif self.objective == "binary:logitraw":
            raise ConversionFailed(
                "binary:logitraw has no probabilities.", hint="Train with binary:logistic."
            )
        else:
            output = self.booster.predict(data)
        if self.objective.startswith("binary:"):
            output = np.stack([1 - output, output], axis=1)
        return {self.outputs[0].name: output.reshape(len(output), -1).astype(np.float32)}

    def export(self) -> ModelProto:
        """The graph, exported by onnxmltools."""
        try:
            from onnxmltools import convert_xgboost
        except ImportError as error:
            raise MissingExtra("onnxmltools", extra="xgboost") from error
        # The converter expects features to be named f0, f1, ..., not by the user.
        plain = load_xgboost().Booster()
        plain.load_model(self.booster.save_raw("ubj"))
        plain.feature_names = None
        return convert_trees(convert_xgboost, plain, self.inputs[0], self.outputs[0])

    def hard_samples(self) -> Sequence[Arrays]:
        """None."""
        return ()

    def save(self, folder: Path) -> Path:
        """The booster as a file of XGBoost's own format in `folder`."""
        self.booster.save_model(folder / "model.ubj")
        return folder / "model.ubj"

    def files(self) -> Mapping[str, bytes | Path]:
        """The booster in XGBoost's own format."""
        return {"xgboost.ubj": bytes(self.booster.save_raw("ubj"))}
