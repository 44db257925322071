"""What a fitted scikit-learn estimator takes: texts, the columns of a DataFrame, or a matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from modelpad.convert.source import TensorSpec
from modelpad.errors import ConversionFailed, MissingExtra
from modelpad.fields.arrays import Array, Arrays

TEXT, MATRIX = "text", "X"
VECTORIZERS = ("CountVectorizer", "TfidfVectorizer", "HashingVectorizer")
ENCODERS = ("OneHotEncoder", "OrdinalEncoder", "TargetEncoder")
# Estimators whose answers change if their inputs are rounded to float32, or that do not take it.
DOUBLE = (
    "BisectingKMeans",
    "BayesianRidge",
    "EllipticEnvelope",
    "GaussianMixture",
    "GaussianProcessClassifier",
    "GaussianProcessRegressor",
    "HistGradientBoostingClassifier",
    "HistGradientBoostingRegressor",
    "IsotonicRegression",
    "KBinsDiscretizer",
    "KMeans",
    "KNeighborsClassifier",
    "KNeighborsRegressor",
    "LocalOutlierFactor",
    "MiniBatchKMeans",
    "NuSVR",
    "OneClassSVM",
    "PassiveAggressiveClassifier",
    "Perceptron",
    "QuadraticDiscriminantAnalysis",
    "QuantileTransformer",
    "SGDClassifier",
    "SGDOneClassSVM",
    "SGDRegressor",
    "SVR",
    "SplineTransformer",
    "TransformedTargetRegressor",
)

Form = Literal["text", "frame", "objects", "matrix"]


@dataclass(frozen=True, slots=True)
class Inputs:
    """The raw inputs of an estimator, and how it takes them.

    `text` is a list of strings, `frame` a DataFrame with an input for each column, `objects` an
    array of objects with an input for each column, and `matrix` a single array.
    """

    form: Form
    specs: tuple[TensorSpec, ...]
    dtype: str

    def build(self, raw: Arrays) -> Any:
        """The argument of the estimator's methods. Raises `MissingExtra` without pandas."""
        if self.form == "text":
            return [str(text) for text in raw[TEXT].reshape(-1)]
        if self.form == "matrix":
            value = raw[self.specs[0].name]
            return value.astype(object) if value.dtype.kind in "USO" else value
        columns = {spec.name: _column(raw[spec.name]) for spec in self.specs}
        if self.form == "objects":
            return np.array(list(zip(*columns.values(), strict=True)), dtype=object)
        try:
            import pandas
        except ImportError as error:
            raise MissingExtra("pandas", extra="sklearn") from error
        return pandas.DataFrame(columns)


def _column(value: Array) -> Array:
    flat = value.reshape(-1)
    return flat.astype(object) if flat.dtype.kind in "USO" else flat


def describe_inputs(estimator: Any) -> Inputs:
    """The inputs of a fitted estimator.

    Raises `ConversionFailed` if it selects columns in a way that does not tell which.
    """
    dtype = "float64" if any(type(one).__name__ in DOUBLE for one in walk(estimator)) else "float32"
    front = find_front(estimator)
    kind = type(front).__name__
    if kind in VECTORIZERS:
        return Inputs("text", (TensorSpec(TEXT, "string", (None,)),), dtype)
    names = column_names(estimator, front)
    width = count_features(estimator, front)
    columns = describe_columns(front, width, dtype)
    labels = names or tuple(f"x{at}" for at in range(width or 0))
    common = {spec.dtype for spec in columns.values()} or {dtype}
    is_table = kind == "ColumnTransformer" and (names or len(common) > 1)
    if is_table or (names and _has_choices(columns)):
        specs = tuple(spec.renamed(labels[at]) for at, spec in sorted(columns.items()))
        return Inputs("frame" if names else "objects", specs, dtype)
    used = common.pop() if len(common) == 1 else dtype
    spec = TensorSpec(MATRIX, used, (None, width), columns=names)
    return Inputs("matrix", (spec,), dtype)


def _has_choices(columns: dict[int, TensorSpec]) -> bool:
    return any(spec.choices or spec.dtype == "string" for spec in columns.values())


def walk(estimator: Any) -> Iterator[Any]:
    """An estimator and all estimators in it, each once."""
    waiting, seen = [estimator], set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, list | tuple):
            waiting += one
        elif isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, np.ndarray) and one.dtype == object:
            waiting += one.reshape(-1).tolist()
        elif type(one).__module__.partition(".")[0] == "sklearn" and hasattr(one, "__dict__"):
            if hasattr(one, "get_params"):
                yield one
            waiting += vars(one).values()


def unwrap(estimator: Any) -> Any:
    """The estimator that a search has found."""
    while hasattr(estimator, "best_estimator_"):
        estimator = estimator.best_estimator_
    return estimator


def last_step(estimator: Any) -> Any:
    """The last step of a pipeline, or the estimator itself."""
    estimator = unwrap(estimator)
    while hasattr(estimator, "steps"):
        estimator = unwrap(estimator.steps[-1][1])
    return estimator


def find_front(estimator: Any) -> Any:
    """The estimator that receives the input first."""
    inner = unwrap(estimator)
    if hasattr(inner, "steps"):
        steps = [step for _, step in inner.steps if step not in (None, "passthrough")]
        return find_front(steps[0]) if steps else inner
    if hasattr(inner, "transformer_list"):
        return find_front(inner.transformer_list[0][1])
    if hasattr(inner, "calibrated_classifiers_"):
        return find_front(inner.calibrated_classifiers_[0].estimator)
    if hasattr(inner, "regressor_"):
        return find_front(inner.regressor_)
    fitted = getattr(inner, "estimators_", None)
    if isinstance(fitted, list) and fitted and hasattr(fitted[0], "get_params"):
        return find_front(fitted[0])
    return inner


def column_names(estimator: Any, front: Any) -> tuple[str, ...]:
    """The names of the columns that the estimator was fitted on; empty if it has none."""
    for one in (estimator, unwrap(estimator), front):
        names = getattr(one, "feature_names_in_", None)
        if names is not None:
            return tuple(map(str, names))
    return ()


def count_features(estimator: Any, front: Any) -> int | None:
    """The number of columns."""
    for one in (estimator, unwrap(estimator), front):
        width = getattr(one, "n_features_in_", None)
        if width is not None:
            return int(width)
    return 1 if type(front).__name__ == "IsotonicRegression" else None


def describe_columns(front: Any, width: int | None, dtype: str) -> dict[int, TensorSpec]:
    """The dtype and choices of the columns that an estimator uses, by position."""
    if type(front).__name__ != "ColumnTransformer":
        encoder = getattr(front, "_preprocessor", None)
        if encoder is not None:  # gradient boosting with categories
            return describe_columns(encoder, width, dtype)
        if width is None or width > MAX_COLUMNS:
            return {}
        return {at: describe_column([front], at, dtype) for at in range(width)}
    columns: dict[int, TensorSpec] = {}
    for name, transformer, _ in front.transformers_:
        if isinstance(transformer, str) and transformer == "drop":
            continue
        for inside, at in enumerate(_positions(front, name)):
            spec = describe_column(steps_of(transformer), inside, dtype)
            if at not in columns or spec.dtype == "string" or spec.choices:
                columns[at] = spec
    return columns


MAX_COLUMNS = 10_000


def _positions(transformer: Any, name: str) -> list[int]:
    chosen = transformer._transformer_to_input_indices.get(name)
    if chosen is None:
        raise ConversionFailed(
            f"The ColumnTransformer does not say which columns {name} takes.",
            hint="Fit it again with this version of scikit-learn.",
        )
    return [int(at) for at in chosen]


def steps_of(transformer: Any) -> list[Any]:
    """The steps of a pipeline, in order; the transformer alone if it is none."""
    if hasattr(transformer, "steps"):
        return [one for _, step in transformer.steps for one in steps_of(step)]
    return [] if isinstance(transformer, str) else [transformer]


def describe_column(steps: Sequence[Any], at: int, dtype: str) -> TensorSpec:
    """The input of one column, from the steps that it passes."""
    for step in steps:
        if type(step).__name__ in VECTORIZERS:
            return TensorSpec("", "string", (None, 1))
        if hasattr(step, "categories_") and type(step).__name__ in ENCODERS:
            return _describe_categories(step.categories_[at], dtype)
        statistics = getattr(step, "statistics_", None)
        if statistics is None:
            break
        if isinstance(statistics[at], str) and step is steps[-1]:
            return TensorSpec("", "string", (None, 1))
    return TensorSpec("", dtype, (None, 1))


def _describe_categories(values: Array, dtype: str) -> TensorSpec:
    present = [value for value in values.tolist() if value is not None and value == value]
    if present and all(isinstance(value, str) for value in present):
        return TensorSpec("", "string", (None, 1), choices=tuple(present))
    if present and values.dtype.kind in "iub":
        return TensorSpec("", "int64", (None, 1), choices=tuple(int(one) for one in present))
    if values.dtype.kind == "f" or not present:
        return TensorSpec("", dtype, (None, 1))
    raise ConversionFailed(
        "A column has categories of several types, which a tensor cannot hold.",
        hint="Convert the column's values to text before fitting.",
    )
