"""Foreign models in, bundles with a proof of parity out; one module a framework.

    source = open_source(Path("model.keras"), request)
    conversion = convert_model(source, "digits", request)

Frameworks are imported only by the module that knows them, when it is asked.
"""

from modelpad.convert.conversion import Conversion, convert_model
from modelpad.convert.detect import name_format, open_source
from modelpad.convert.live import open_live
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
    "external_files",
    "name_format",
    "open_live",
    "open_source",
    "prove",
]
