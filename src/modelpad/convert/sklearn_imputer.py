"""SimpleImputer of scikit-learn as ONNX nodes, for numbers and texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from modelpad.convert.sklearn_nodes import Nodes, int64s
from modelpad.errors import ConversionFailed

if TYPE_CHECKING:
    from skl2onnx.common._container import ModelComponentContainer
    from skl2onnx.common._topology import Operator, Scope


def register_imputer(dtype: str, tensor: Any) -> None:
    """Registers it. `tensor` is skl2onnx's type of numbers with fractions, of this dtype."""
    from skl2onnx import update_registered_converter
    from skl2onnx.common.data_types import StringTensorType
    from sklearn.impute import SimpleImputer

    def set_shape(operator: Operator) -> None:
        model = operator.raw_operator
        kind = StringTensorType if is_text(model) else tensor
        indicator = model.indicator_
        width = len(_kept(model)) + (0 if indicator is None else len(indicator.features_))
        operator.outputs[0].type = kind([None, width])

    def convert(scope: Scope, operator: Operator, container: ModelComponentContainer) -> None:
        nodes = Nodes(scope, container)
        inputs = [value.full_name for value in operator.inputs]
        output = operator.outputs[0].full_name
        if is_text(operator.raw_operator):
            nodes("Identity", _fill_texts(nodes, operator.raw_operator, inputs), result=output)
        else:
            nodes.cast(_fill_numbers(nodes, operator.raw_operator, inputs), dtype, output)

    update_registered_converter(SimpleImputer, "ModelpadSimpleImputer", set_shape, convert)


def is_text(imputer: Any) -> bool:
    """Whether its columns are texts."""
    return any(isinstance(value, str) for value in imputer.statistics_)


def _kept(imputer: Any) -> list[int]:
    """The columns that are not dropped for having no value at all."""
    values = imputer.statistics_.tolist()
    if imputer.keep_empty_features:
        return list(range(len(values)))
    return [at for at, value in enumerate(values) if value is not None and value == value]


def _fill_texts(nodes: Nodes, imputer: Any, inputs: list[str]) -> str:
    """A tensor of strings has no missing values, unless a text stands for them."""
    if imputer.indicator_ is not None:
        raise ConversionFailed(
            "A SimpleImputer with add_indicator=True mixes texts and numbers in one table.",
            hint="Use add_indicator=False for columns of text.",
        )
    value = nodes("Concat", *inputs, axis=1) if len(inputs) > 1 else inputs[0]
    if isinstance(imputer.missing_values, str):
        missing = nodes("Equal", value, np.array([imputer.missing_values], object))
        fill = np.array([list(map(str, imputer.statistics_))], object)
        value = nodes("Where", missing, fill, value)
    return nodes("Gather", value, int64s(*_kept(imputer)), axis=1)


def _fill_numbers(nodes: Nodes, imputer: Any, inputs: list[str]) -> str:
    columns = [nodes.cast(one, "float64") for one in inputs]
    value = nodes("Concat", *columns, axis=1) if len(columns) > 1 else columns[0]
    marker = imputer.missing_values
    if isinstance(marker, int | float | np.number) and marker == marker:
        missing = nodes("Equal", value, np.array([float(marker)]))
    else:
        missing = nodes("IsNaN", value)
    fill = np.array([[float(one) for one in imputer.statistics_]])
    filled = nodes("Where", missing, fill, value)
    parts = [nodes("Gather", filled, int64s(*_kept(imputer)), axis=1)]
    if imputer.indicator_ is not None:
        flags = nodes.cast(missing, "float64")
        chosen = int64s(*imputer.indicator_.features_.tolist())
        parts.append(nodes("Gather", flags, chosen, axis=1))
    return nodes("Concat", *parts, axis=1)
