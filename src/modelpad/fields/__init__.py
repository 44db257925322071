"""Fields: the typed inputs and outputs of a model.

A field decodes one request value, encodes one output, and has a JSON schema and a widget. It does
not depend on bundles, sessions or HTTP.
"""

from modelpad.fields.audio import Audio
from modelpad.fields.blend import Blend
from modelpad.fields.choice import Choice
from modelpad.fields.field import Field
from modelpad.fields.heatmap import Heatmap
from modelpad.fields.image import Image
from modelpad.fields.kinds import field_from_dict
from modelpad.fields.label import Familiarity, Label
from modelpad.fields.number import Number
from modelpad.fields.score import Score
from modelpad.fields.signature import Binding, Signature
from modelpad.fields.sketch import Sketch
from modelpad.fields.tensor import Tensor
from modelpad.fields.text import Text
from modelpad.fields.tokenizer import Tokenizer

__all__ = [
    "Audio",
    "Binding",
    "Blend",
    "Choice",
    "Familiarity",
    "Field",
    "Heatmap",
    "Image",
    "Label",
    "Number",
    "Score",
    "Signature",
    "Sketch",
    "Tensor",
    "Text",
    "Tokenizer",
    "field_from_dict",
]
