"""What a fitted scikit-learn estimator gives: the outputs of its own methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from modelpad.convert.sklearn_inputs import last_step
from modelpad.convert.source import Shape, TensorSpec
from modelpad.errors import ConversionFailed
from modelpad.fields.arrays import Array, Arrays


def choose_methods(estimator: Any) -> tuple[str, ...]:
    """The methods whose results are the outputs, which have their names.

    Raises `ConversionFailed` if it can only describe the data that it was fitted on.
    """
    last = last_step(estimator)
    if not hasattr(estimator, "predict"):
        if not hasattr(estimator, "transform"):
            raise ConversionFailed(
                f"The {type(last).__name__} has neither predict nor transform,"
                " so it cannot be applied to new data.",
                hint=_hint(last),
            )
        return ("transform",)
    kind = _kind(estimator)
    scores = {
        "classifier": ("predict_proba", "decision_function"),
        "outlier_detector": ("decision_function",),
        "clusterer": ("transform",),
    }
    found = [name for name in scores.get(kind, ()) if hasattr(estimator, name)]
    return ("predict", *found[:1])


def gives_labels(estimator: Any) -> bool:
    """Whether `predict` gives classes or clusters, not amounts."""
    return hasattr(estimator, "predict") and _kind(estimator) in (
        *("classifier", "outlier_detector", "clusterer"),
    )


def _kind(estimator: Any) -> str:
    last = last_step(estimator)
    if hasattr(last, "classes_") or hasattr(estimator, "predict_proba"):
        return "classifier"
    return str(getattr(last, "_estimator_type", None) or _tag(last))


def _hint(estimator: Any) -> str:
    if type(estimator).__name__ == "LocalOutlierFactor":
        return "Fit it with novelty=True."
    return "Choose an estimator that has predict, such as KMeans."


def _tag(estimator: Any) -> str | None:
    tags = getattr(estimator, "__sklearn_tags__", None)
    return None if tags is None else tags().estimator_type


def call(estimator: Any, methods: Sequence[str], argument: Any) -> dict[str, Any]:
    """The results of the methods by name, with a number for each of several outputs."""
    results: dict[str, Any] = {}
    for name in methods:
        result = getattr(estimator, name)(argument)
        if isinstance(result, list):
            results |= {f"{name}_{at}": _dense(one) for at, one in enumerate(result)}
        else:
            results[name] = _dense(result)
    return results


def _dense(result: Any) -> Array:
    values: Array = np.asarray(result.toarray() if hasattr(result, "toarray") else result)
    return values.astype(str).astype(object) if values.dtype.kind in "OU" else values


def describe_outputs(results: Arrays, dtype: str) -> tuple[TensorSpec, ...]:
    """The outputs, from an example of each. Numbers with fractions have this dtype."""
    specs = []
    for name, value in results.items():
        shape: Shape = (None, *value.shape[1:])
        kind = {"O": "string", "f": dtype}.get(value.dtype.kind, "int64")
        specs.append(TensorSpec(name, kind, shape))
    return tuple(specs)


def cast(results: Arrays, specs: Sequence[TensorSpec]) -> Arrays:
    """The results with the dtypes of the outputs."""
    return {
        spec.name: results[spec.name]
        if spec.dtype == "string"
        else results[spec.name].astype(spec.dtype)
        for spec in specs
    }
