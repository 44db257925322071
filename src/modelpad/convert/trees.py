"""Exports tree boosters to ONNX with onnxmltools."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from modelpad.convert.graph import select_outputs
from modelpad.convert.source import TensorSpec
from modelpad.errors import ConversionFailed, first_line

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 15


def convert_trees(
    convert: Callable[..., ModelProto],
    booster: object,
    source: TensorSpec,
    target: TensorSpec,
    **options: bool,
) -> ModelProto:
    """Exports a booster with `convert`, one of onnxmltools' converters; keeps its last output.

    Raises `ConversionFailed` with the converter's reason.
    """
    from onnxmltools.convert.common.data_types import FloatTensorType

    try:
        model = convert(
            booster,
            initial_types=[(source.name, FloatTensorType([None, source.shape[1]]))],
            target_opset=OPSET,
            **options,
        )
    except Exception as error:
        raise ConversionFailed(
            f"onnxmltools cannot convert the booster: {first_line(error, 300)}",
            hint="Check that its objective is supported and that onnxmltools is up to date.",
        ) from error
    return select_outputs(model, {model.graph.output[-1].name: target.name})
