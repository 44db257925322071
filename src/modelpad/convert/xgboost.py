"""XGBoost boosters and estimators, in memory or from XGBoost's own files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

import numpy as np

from modelpad.convert.archives import unreadable
from modelpad.convert.source import ImportRequest, TensorSpec
from modelpad.convert.tree_ensembles import Ensemble, hard_rows, not_fitted
from modelpad.convert.tree_outputs import Head, add_head
from modelpad.convert.trees import GraphWriter, add_ensemble, add_linear
from modelpad.convert.xgboost_trees import Description, check_links, check_objective, describe
from modelpad.errors import ConversionFailed, MissingExtra, first_line
from modelpad.fields.arrays import Array, Arrays
from modelpad.foreign_json import Json, load_json

if TYPE_CHECKING:
    from onnx import ModelProto
    from xgboost import Booster, XGBModel

PROBABILITIES = ("binary:logistic", "binary:hinge", "multi:softprob")


@dataclass(frozen=True, slots=True)
class Estimator:
    """What a booster's estimator adds: its kind (`classifier`, ...), classes, missing value."""

    kind: str = ""
    classes: tuple[str, ...] = ()
    missing: float = float("nan")


MAX_NESTING = 500  # of a model's JSON, which has about ten levels
OPENED, CLOSED = np.frombuffer(b"[{", np.uint8), np.frombuffer(b"]}", np.uint8)
READ_BYTES = 1 << 20


def open_xgboost(path: Path, request: ImportRequest) -> XGBoostSource:
    """The booster in a `.json` or `.ubj` file, or the estimator if one has written it.

    Raises `ConversionFailed` if it is not one, or damaged.
    """
    xgboost = load_xgboost()
    check_json(path)
    try:
        booster = xgboost.Booster(model_file=str(path))
    except xgboost.core.XGBoostError as error:
        raise unreadable(path, read_reason(error)) from error
    return XGBoostSource(booster, Estimator(read_kind(booster)))


def check_json(path: Path) -> None:
    """Raises `ConversionFailed` for JSON on which XGBoost itself would crash."""
    depth = deepest = 0
    with path.open("rb") as file:
        if path.suffix == ".ubj" or file.read(2)[1:2] in b"LliU":
            return
        file.seek(0)
        while chunk := file.read(READ_BYTES):
            marks = np.frombuffer(chunk, np.uint8)
            opened, closed = np.isin(marks, OPENED), np.isin(marks, CLOSED)
            steps = np.cumsum(opened.astype(np.int64) - closed)
            deepest = max(deepest, depth + int(steps.max()))
            depth += int(steps[-1])
    if deepest > MAX_NESTING:
        raise unreadable(path, f"it is nested {deepest:,} levels deep")
    try:
        check_links(load_json(path.read_bytes()))
    except ValueError as error:
        raise unreadable(path, str(error)) from error


def open_xgboost_object(model: Booster | XGBModel) -> XGBoostSource:
    """The source of a booster or estimator. Raises `ConversionFailed` if it is not fitted."""
    if not hasattr(model, "get_booster"):
        return XGBoostSource(cast("Booster", model))
    model = cast("XGBModel", model)
    if not model.__sklearn_is_fitted__():
        raise not_fitted(model)
    kind = "classifier" if hasattr(model, "predict_proba") else "regressor"
    names = getattr(model, "classes_", None) if kind == "classifier" else None
    classes = () if names is None else tuple(str(name) for name in names)
    missing = float("nan") if model.missing is None else float(model.missing)
    return XGBoostSource(model.get_booster(), Estimator(kind, classes, missing))


def load_xgboost() -> ModuleType:
    """The `xgboost` package. Raises `MissingExtra`."""
    try:
        import xgboost
    except ImportError as error:
        raise MissingExtra("xgboost", extra="xgboost") from error
    return xgboost


def read_reason(error: Exception) -> str:
    """What XGBoost says, without its time, source file and stack trace."""
    return re.sub(r"^\[[\d:]+\] \S+:\d+: ", "", first_line(error, 200))


def read_kind(booster: Booster) -> str:
    """The kind of estimator that wrote a booster's file, or ""."""
    try:
        record = load_json(booster.attr("scikit_learn") or "{}")
    except ValueError:
        return ""
    kind = record.get("_estimator_type") if isinstance(record, dict) else None
    return kind if isinstance(kind, str) else ""


class XGBoostSource:
    """A booster, which predicts as `Booster.predict`, or an estimator.

    A classifier predicts as its `predict_proba`, another estimator as its `predict`; both only use
    the rounds up to the best one of early stopping. The input X is (batch, features) of float32;
    categories are their codes.
    """

    framework = "xgboost"

    def __init__(self, booster: Booster, estimator: Estimator | None = None) -> None:
        """Raises `ConversionFailed` if the trees are damaged."""
        xgboost = load_xgboost()
        self.booster = booster
        self.estimator = estimator or Estimator()
        self.rounds = self._read_rounds()
        self.description = describe(booster, self.rounds)
        self.head = choose_head(self.description, self.estimator)
        self.objective = self.description.objective
        self.classes = self._name_classes()
        self.inputs = (
            TensorSpec(
                "X",
                "float32",
                (None, booster.num_features()),
                columns=tuple(booster.feature_names or ()),
            ),
        )
        self.outputs = (self.head.spec,)
        self.facts: Mapping[str, Json] = {
            "model": self.objective,
            "trees": booster.num_boosted_rounds(),
            "xgboost": xgboost.__version__,
        }

    def run(self, batch: Arrays) -> Arrays:
        """The output of `predict`, or of a classifier's `predict_proba`."""
        values = self._predict(batch[self.inputs[0].name])
        if self.head.layout == "pair":
            values = np.stack([1 - values, values], axis=1)
        return {self.head.name: values.astype(np.float32, copy=False)}

    def export(self) -> ModelProto:
        """The graph. Raises `ConversionFailed` for an unknown objective."""
        check_objective(self.objective)
        graph, body = GraphWriter(), self.description.body
        rows = self.inputs[0].name
        if not np.isnan(self.estimator.missing):
            missing = graph.add("Equal", rows, graph.constant(self.estimator.missing, "float32"))
            rows = graph.add("Where", missing, graph.constant(np.nan, "float32"), rows)
        if isinstance(body, Ensemble):
            sums = add_ensemble(graph, body, rows)
        else:
            sums = add_linear(graph, rows, body.weights, body.offset)
        return graph.finish(self.inputs, self.outputs, [add_head(graph, self.head, sums)])

    def hard_samples(self) -> Sequence[Arrays]:
        """Rows with values on thresholds and next to them, missing and extreme ones."""
        body, columns = self.description.body, self.booster.num_features()
        trees = body if isinstance(body, Ensemble) else Ensemble("float32", True, columns, 1, ())
        return [{self.inputs[0].name: row} for row in hard_rows(trees)]

    def save(self, folder: Path) -> Path:
        """The booster as a file of XGBoost's own format in `folder`."""
        self.booster.save_model(folder / "model.ubj")
        return folder / "model.ubj"

    def files(self) -> Mapping[str, bytes | Path]:
        """The booster in XGBoost's own format."""
        return {"xgboost.ubj": bytes(self.booster.save_raw("ubj"))}

    def _predict(self, rows: Array) -> Array:
        xgboost = load_xgboost()
        data = xgboost.DMatrix(np.asarray(rows, np.float32), missing=self.estimator.missing)
        margins = self.objective == "multi:softmax" and self.head.layout == "matrix"
        output: Array = self.booster.predict(
            data,
            output_margin=margins,
            iteration_range=(0, self.rounds or 0),
            validate_features=False,
        )
        if not margins:
            return output
        powers: Array = np.exp(output - output.max(axis=1, keepdims=True))
        shares: Array = powers / powers.sum(axis=1, keepdims=True)
        return shares

    def _read_rounds(self) -> int | None:
        """The rounds of an estimator that stopped early; None for all."""
        best = self.booster.attr("best_iteration") if self.estimator.kind else None
        config = json.loads(self.booster.save_config())
        if config["learner"]["gradient_booster"]["name"] == "gblinear":
            return None
        return int(best) + 1 if best and best.isdecimal() else None

    def _name_classes(self) -> tuple[str, ...]:
        count = self.head.spec.shape[-1] if self.head.name == "probabilities" else 0
        if self.description.classes == 0 and self.head.layout != "pair":
            count = 0  # several labels that do not exclude each other
        if len(self.estimator.classes) == count:
            return self.estimator.classes
        return tuple(str(number) for number in range(count or 0))


def choose_head(description: Description, estimator: Estimator) -> Head:
    """The output that the booster or estimator predicts."""
    objective, outputs = description.objective, description.outputs
    try:
        transform = check_objective(objective)
    except ConversionFailed:
        transform = "none"  # it runs, but cannot be exported
    if estimator.kind == "classifier" and objective != "binary:logitraw":
        transform = "softmax" if transform == "argmax" else transform
        layout = "pair" if outputs == 1 else "matrix"
        return Head("probabilities", transform, layout, outputs, "float32")
    if transform == "argmax":
        return Head("label", transform, "vector", outputs, "float32")
    if objective not in PROBABILITIES:
        layout = "vector" if outputs == 1 else "matrix"
        return Head("prediction", transform, layout, outputs, "float32")
    if outputs == 1:
        return Head("probability", transform, "vector", outputs, "float32")
    return Head("probabilities", transform, "matrix", outputs, "float32")
