"""LightGBM boosters and estimators, in memory or from LightGBM's own files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from modelpad.convert.archives import unreadable
from modelpad.convert.lightgbm_trees import Description, check_links, describe, transform_of
from modelpad.convert.source import ImportRequest, TensorSpec
from modelpad.convert.tree_ensembles import hard_rows, not_fitted
from modelpad.convert.tree_outputs import Head, add_head
from modelpad.convert.trees import GraphWriter, add_ensemble
from modelpad.errors import ConversionFailed, MissingExtra, first_line
from modelpad.fields.arrays import Arrays
from modelpad.foreign_json import Json

if TYPE_CHECKING:
    from lightgbm import Booster, LGBMModel
    from onnx import ModelProto

PROBABILITIES = ("binary", "cross_entropy", "multiclass", "multiclassova")


def open_lightgbm(path: Path, request: ImportRequest) -> LightGBMSource:
    """The booster in a text file. Raises `ConversionFailed` if it is not one, or damaged."""
    lightgbm = load_lightgbm()
    try:
        check_links(path.read_text("utf-8"))
        booster = lightgbm.Booster(model_file=str(path))
    except UnicodeDecodeError as error:
        raise unreadable(path, "it is not text") from error
    except lightgbm.basic.LightGBMError as error:
        raise unreadable(path, first_line(error, 200)) from error
    return LightGBMSource(booster)


def open_lightgbm_object(model: Booster | LGBMModel) -> LightGBMSource:
    """The source of a booster or estimator. Raises `ConversionFailed` if it is not fitted."""
    booster = getattr(model, "booster_", model)
    if not hasattr(booster, "model_to_string"):
        raise not_fitted(model)
    names = getattr(model, "classes_", None)
    return LightGBMSource(booster, None if names is None else tuple(str(name) for name in names))


def load_lightgbm() -> ModuleType:
    """The `lightgbm` package. Raises `MissingExtra`."""
    try:
        import lightgbm
    except (ImportError, OSError) as error:
        raise MissingExtra("lightgbm", extra="lightgbm") from error
    return lightgbm


class LightGBMSource:
    """A booster or regressor, which predicts as its `predict`; a classifier as `predict_proba`.

    The input X is (batch, features) of float64, the precision in which LightGBM compares;
    categories are their codes.
    """

    framework = "lightgbm"

    def __init__(self, booster: Booster, classes: tuple[str, ...] | None = None) -> None:
        """`classes` are a classifier's, else None. Raises `ConversionFailed` if it is damaged."""
        lightgbm = load_lightgbm()
        self.booster = booster
        self.description = describe(booster)
        self.objective = self.description.objective
        self.head = choose_head(self.description, classes is not None)
        count = self.head.spec.shape[-1] if self.head.name == "probabilities" else 0
        numbers = tuple(str(number) for number in range(count or 0))
        self.classes = classes if classes and len(classes) == count else numbers
        names = self.description.names
        given = names != tuple(f"Column_{number}" for number in range(len(names)))
        shape = (None, booster.num_feature())
        self.inputs = (TensorSpec("X", "float64", shape, columns=names if given else ()),)
        self.outputs = (self.head.spec,)
        self.facts: Mapping[str, Json] = {
            "model": self.objective,
            "trees": len(self.description.ensemble.trees),
            "lightgbm": lightgbm.__version__,
        }

    def run(self, batch: Arrays) -> Arrays:
        """The output of `predict`, or of a classifier's `predict_proba`."""
        values = np.asarray(self.booster.predict(batch[self.inputs[0].name]), np.float64)
        if self.head.layout == "pair":
            values = np.stack([1 - values, values], axis=1)
        return {self.head.name: values}

    def export(self) -> ModelProto:
        """The graph. Raises `ConversionFailed` for an unknown objective."""
        transform_of(self.objective, self.description.options)
        graph = GraphWriter()
        sums = add_ensemble(graph, self.description.ensemble, self.inputs[0].name)
        return graph.finish(self.inputs, self.outputs, [add_head(graph, self.head, sums)])

    def hard_samples(self) -> Sequence[Arrays]:
        """Rows with values on thresholds and next to them, missing and extreme ones."""
        return [{self.inputs[0].name: row} for row in hard_rows(self.description.ensemble)]

    def save(self, folder: Path) -> Path:
        """The booster as a file of LightGBM's own format in `folder`."""
        self.booster.save_model(folder / "model.txt")
        return folder / "model.txt"

    def files(self) -> Mapping[str, bytes | Path]:
        """The booster in LightGBM's own format."""
        return {"lightgbm.txt": self.booster.model_to_string().encode("utf-8")}


def choose_head(description: Description, is_classifier: bool) -> Head:
    """The output that the booster or estimator predicts."""
    objective, outputs = description.objective, description.ensemble.outputs
    scale = float(description.options.get("sigmoid", 1))
    try:
        transform = transform_of(objective, description.options)
    except ConversionFailed:
        transform = "none"  # it runs, but cannot be exported
    if outputs > 1:
        name = "probabilities" if is_classifier or objective in PROBABILITIES else "prediction"
        return Head(name, transform, "matrix", outputs, "float64", scale)
    if is_classifier:
        return Head("probabilities", transform, "pair", outputs, "float64", scale)
    name = "probability" if objective in PROBABILITIES else "prediction"
    return Head(name, transform, "vector", outputs, "float64", scale)
