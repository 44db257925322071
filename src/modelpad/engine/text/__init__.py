"""Language models: continuous batching of texts that are read and written token by token."""

from modelpad.engine.text.batcher import TextBatcher
from modelpad.engine.text.engine import TextLimits
from modelpad.engine.text.requests import (
    Classified,
    Generation,
    GenerationRequest,
    TextPiece,
    TokenScore,
)
from modelpad.engine.text.sampling import SamplingOptions
from modelpad.engine.text.session import TextSession
from modelpad.engine.text.stepper import StepRecord

__all__ = [
    "Classified",
    "Generation",
    "GenerationRequest",
    "SamplingOptions",
    "StepRecord",
    "TextBatcher",
    "TextLimits",
    "TextPiece",
    "TextSession",
    "TokenScore",
]
