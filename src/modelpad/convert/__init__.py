"""Converts models of other frameworks to bundles, with a parity check. One module per framework.

    source = open_source(Path("model.keras"), request)
    conversion = convert_model(source, "digits", request)

A framework is imported only by its own module, when it is needed.
"""

from modelpad.convert.conversion import Conversion, convert_model
from modelpad.convert.detect import detect_format, open_source
from modelpad.convert.objects import open_object
from modelpad.convert.onnx import external_files
from modelpad.convert.prove import GraphFacts, Proved, prove
from modelpad.convert.source import ImportRequest, SourceModel, TensorSpec

__all__ = [
    "Conversion",
    "GraphFacts",
    "ImportRequest",
    "Proved",
    "SourceModel",
    "TensorSpec",
    "convert_model",
    "detect_format",
    "external_files",
    "open_object",
    "open_source",
    "prove",
]
