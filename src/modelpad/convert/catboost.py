"""CatBoost models, in memory or from CatBoost's own files."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from modelpad.convert.archives import unreadable
from modelpad.convert.catboost_trees import categories_by_hash, describe
from modelpad.convert.source import ImportRequest, TensorSpec
from modelpad.convert.tree_ensembles import EXTREMES, hard_rows, not_fitted
from modelpad.convert.tree_outputs import Head, add_head
from modelpad.convert.trees import GraphWriter, add_ensemble
from modelpad.errors import ConversionFailed, MissingExtra, first_line
from modelpad.fields.arrays import Arrays
from modelpad.foreign_json import Json

if TYPE_CHECKING:
    from catboost import CatBoost
    from onnx import ModelProto

# What `predict_proba` makes of the sums for each loss, and `predict` with its prediction type.
CLASSIFIERS = {
    "CrossEntropy": "sigmoid",
    "Logloss": "sigmoid",
    "MultiClass": "softmax",
    "MultiClassOneVsAll": "sigmoid",
    "MultiCrossEntropy": "sigmoid",
    "MultiLogloss": "sigmoid",
}
REGRESSORS = {
    "Poisson": ("Exponent", "exp"),
    "RMSEWithUncertainty": ("RMSEWithUncertainty", "mean and variance"),
    "Tweedie": ("Exponent", "exp"),
}
UNSEEN = ("", "never seen", "-1", "nan")


def open_catboost(path: Path, request: ImportRequest) -> CatBoostSource:
    """The model in a `.cbm` or `.json` file. Raises `ConversionFailed` if it is not one."""
    catboost = load_catboost()
    with path.open("rb") as file:
        form = "cbm" if file.read(4) == b"CBM1" else "json"
    try:
        model = catboost.CatBoost().load_model(str(path), format=form)
    except (catboost.CatBoostError, ValueError, TypeError, KeyError) as error:
        raise unreadable(path, first_line(error, 200)) from error
    return CatBoostSource(model)


def load_catboost() -> ModuleType:
    """The `catboost` package. Raises `MissingExtra`."""
    try:
        import catboost
    except ImportError as error:
        raise MissingExtra("catboost", extra="catboost") from error
    module: ModuleType = catboost
    return module


class CatBoostSource:
    """A model. It predicts as `predict_proba` if its loss is a classifier's, else as `predict`.

    The input X is (batch, features) of float32, the precision in which CatBoost compares. A model
    with categorical features has an input (batch, 1) for each feature instead: float32, or string
    for a category; it runs in CatBoost, but ONNX cannot express it.
    """

    framework = "catboost"

    def __init__(self, model: CatBoost) -> None:
        """Raises `ConversionFailed` for text features, and if it is damaged or not fitted."""
        catboost = load_catboost()
        self.model = model
        if not model.is_fitted():
            raise not_fitted(model)
        if model.get_text_feature_indices() or model.get_embedding_feature_indices():
            raise ConversionFailed(
                "The CatBoost model has text or embedding features, which are not supported.",
                hint="Train it on features computed from them.",
            )
        self.loss = read_loss(model)
        self.categories = frozenset(model.get_cat_feature_indices())
        names = tuple(str(name) for name in model.feature_names_)
        self.ensemble = None if self.categories else describe(model, len(names))
        self.head = self._choose_head()
        self.inputs = self._describe_inputs(names)
        self.outputs = (self.head.spec,)
        given = tuple(str(name) for name in np.ravel(model.classes_))
        count = self.head.spec.shape[-1] if self.head.name == "probabilities" else 0
        exclusive = self.loss in ("Logloss", "CrossEntropy", "MultiClass", "MultiClassOneVsAll")
        self.classes = given if exclusive and len(given) == count else ()
        self.facts: Mapping[str, Json] = {
            "model": self.loss,
            "trees": int(model.tree_count_),
            "catboost": catboost.__version__,
        }

    def run(self, batch: Arrays) -> Arrays:
        """The output of `predict`, or of a classifier's `predict_proba`."""
        catboost = load_catboost()
        columns = [batch[spec.name] for spec in self.inputs]
        rows = np.concatenate(columns, axis=1, dtype=object) if self.categories else columns[0]
        data = catboost.Pool(rows, cat_features=sorted(self.categories) or None)
        values = catboost.CatBoost.predict(self.model, data, prediction_type=self._kind())
        return {self.head.name: np.asarray(values, np.float64)}

    def export(self) -> ModelProto:
        """The graph. Raises `ConversionFailed` for categorical features."""
        if self.ensemble is None:
            raise categories_by_hash()
        graph = GraphWriter()
        sums = add_ensemble(graph, self.ensemble, self.inputs[0].name)
        return graph.finish(self.inputs, self.outputs, [add_head(graph, self.head, sums)])

    def hard_samples(self) -> Sequence[Arrays]:
        """Rows with values on borders and next to them, missing, extreme and unseen ones."""
        if self.ensemble is not None:
            return [{self.inputs[0].name: row} for row in hard_rows(self.ensemble)]
        random = np.random.default_rng(7)
        return [
            {
                spec.name: np.array([random.choice(UNSEEN)], object)
                if spec.dtype == "string"
                else np.array([random.choice(EXTREMES)], np.float32)
                for spec in self.inputs
            }
            for _ in range(8)
        ]

    def save(self, folder: Path) -> Path:
        """The model as a file of CatBoost's own format in `folder`."""
        self.model.save_model(str(folder / "model.cbm"), format="cbm")
        return folder / "model.cbm"

    def files(self) -> Mapping[str, bytes | Path]:
        """The model in CatBoost's own format."""
        with tempfile.TemporaryDirectory(prefix="modelpad-catboost-") as folder:
            path = Path(folder) / "model.cbm"
            self.model.save_model(str(path), format="cbm")
            return {"catboost.cbm": path.read_bytes()}

    def _kind(self) -> str:
        if self.loss in CLASSIFIERS:
            return "Probability"
        return REGRESSORS.get(self.loss, ("RawFormulaVal", ""))[0]

    def _choose_head(self) -> Head:
        outputs = int(np.size(self.model.get_scale_and_bias()[1]))
        if self.loss in CLASSIFIERS:
            several = outputs > 1 or self.loss.startswith("Multi")
            layout = "matrix" if several else "pair"
            return Head("probabilities", CLASSIFIERS[self.loss], layout, outputs, "float64")
        transform = REGRESSORS.get(self.loss, ("", "none"))[1]
        layout = "matrix" if outputs > 1 else "vector"
        return Head("prediction", transform, layout, outputs, "float64")

    def _describe_inputs(self, names: tuple[str, ...]) -> tuple[TensorSpec, ...]:
        if self.categories:
            return tuple(
                TensorSpec(name, "string" if number in self.categories else "float32", (None, 1))
                for number, name in enumerate(names)
            )
        given = names != tuple(str(number) for number in range(len(names)))
        return (TensorSpec("X", "float32", (None, len(names)), columns=names if given else ()),)


def read_loss(model: CatBoost) -> str:
    """The name of the loss that the model was trained with; "" if it does not say."""
    try:
        loss = model.get_all_params().get("loss_function", "")
    except Exception:  # a model put together from others has no parameters
        return ""
    return str(loss).partition(":")[0]
