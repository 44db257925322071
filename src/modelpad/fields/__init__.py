"""Fields: the typed inputs and outputs of a model.

A field knows how to decode one value that arrived, how to encode one answer, its JSON schema and
which widget shows it. It knows nothing of bundles, sessions or HTTP.
"""

from modelpad.fields.field import Field, field_from_dict
from modelpad.fields.image import Image
from modelpad.fields.label import Label
from modelpad.fields.score import Score
from modelpad.fields.signature import Signature
from modelpad.fields.sketch import Sketch
from modelpad.fields.tensor import Tensor
from modelpad.fields.text import Text

__all__ = [
    "Field",
    "Image",
    "Label",
    "Score",
    "Signature",
    "Sketch",
    "Tensor",
    "Text",
    "field_from_dict",
]
