"""XGBoost's own model files, and live boosters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from modelpad.convert.archives import unreadable
from modelpad.convert.graph import keep_outputs
from modelpad.convert.source import Arrays, ImportRequest, TensorSpec
from modelpad.errors import ConversionFailed, MissingExtra, first_line


def open_xgboost(path: Path, request: ImportRequest) -> XGBoostSource:
    """The booster in a `.json` or `.ubj` file. Raises `ConversionFailed` when it is none."""
    xgboost = load_xgboost()
    try:
        return XGBoostSource(xgboost.Booster(model_file=str(path)))
    except xgboost.core.XGBoostError as error:
        raise unreadable(path, str(error).strip().splitlines()[-1][:200]) from error


def load_xgboost() -> Any:
    """XGBoost. Raises `MissingExtra`."""
    try:
        import xgboost
    except ImportError as error:
        raise MissingExtra("xgboost", extra="xgboost") from error
    return xgboost


class XGBoostSource:
    """A booster; a classifier answers probabilities of all classes."""

    framework = "xgboost"
    classes: tuple[str, ...] = ()
    scales_itself = False

    def __init__(self, booster: Any) -> None:
        xgboost = load_xgboost()
        self.booster = booster
        learner = json.loads(booster.save_config())["learner"]
        self.objective = str(learner["objective"]["name"])
        classes = int(learner["learner_model_param"]["num_class"])
        if self.objective.startswith("binary:"):
            classes = 2
        self.classes = tuple(str(number) for number in range(classes)) if classes > 1 else ()
        self.inputs = (TensorSpec("input", "float32", (None, booster.num_features())),)
        name = "probabilities" if self.classes else "output"
        self.outputs = (TensorSpec(name, "float32", (None, classes if self.classes else 1)),)
        self.facts: Mapping[str, Any] = {
            "model": self.objective,
            "trees": booster.num_boosted_rounds(),
            "xgboost": xgboost.__version__,
        }

    def run(self, batch: Arrays) -> Arrays:
        """The booster's own answers. Raises `ConversionFailed` for margins without a share."""
        data = load_xgboost().DMatrix(next(iter(batch.values())))
        if self.objective == "multi:softmax":  # predicts labels alone; the margins have it all
            margins = self.booster.predict(data, output_margin=True)
            powers = np.exp(margins - margins.max(axis=1, keepdims=True))
            answer = powers / powers.sum(axis=1, keepdims=True)
        elif self.objective == "binary:logitraw":
            raise ConversionFailed(
                "binary:logitraw has no probabilities.", hint="Train with binary:logistic."
            )
        else:
            answer = self.booster.predict(data)
        if self.objective.startswith("binary:"):
            answer = np.stack([1 - answer, answer], axis=1)
        return {self.outputs[0].name: answer.reshape(len(answer), -1).astype(np.float32)}

    def export(self) -> Any:
        """The graph by onnxmltools."""
        try:
            from onnxmltools import convert_xgboost
        except ImportError as error:
            raise MissingExtra("onnxmltools", extra="xgboost") from error
        # The converter knows features as f0, f1, ...; names of the user's confuse it.
        plain = load_xgboost().Booster()
        plain.load_model(self.booster.save_raw("ubj"))
        plain.feature_names = None
        return convert_trees(convert_xgboost, plain, self.inputs[0], self.outputs[0])

    def files(self) -> Mapping[str, bytes | Path]:
        """The booster's own file."""
        return {"xgboost.ubj": bytes(self.booster.save_raw("ubj"))}


def convert_trees(
    convert: Any, model: Any, taken: TensorSpec, given: TensorSpec, **how: Any
) -> Any:
    """The graph of a booster by one of onnxmltools' converters, with its last output alone.

    Raises `ConversionFailed` with the converter's reason.
    """
    from onnxmltools.convert.common.data_types import FloatTensorType

    try:
        graph = convert(
            model,
            initial_types=[(taken.name, FloatTensorType([None, taken.shape[1]]))],
            target_opset=15,
            **how,
        )
    except Exception as error:
        raise ConversionFailed(
            f"onnxmltools cannot convert it: {first_line(error, 300)}",
            hint="Check that its objective is a common one, and that onnxmltools is new enough.",
        ) from error
    return keep_outputs(graph, {graph.graph.output[-1].name: given.name})
