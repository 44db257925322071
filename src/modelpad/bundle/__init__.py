"""The bundle: one saved model version, as a folder. Independent of stores or engines."""

from modelpad.bundle.manifest import (
    DEFAULT_SIGNATURE,
    FileRecord,
    Manifest,
    NativeModel,
    OtherSignature,
    Sample,
)
from modelpad.bundle.reader import GRAPH, Bundle, open_bundle
from modelpad.bundle.sequence import SequenceModel, SequenceState
from modelpad.bundle.writer import write_bundle

__all__ = [
    "DEFAULT_SIGNATURE",
    "GRAPH",
    "Bundle",
    "FileRecord",
    "Manifest",
    "NativeModel",
    "OtherSignature",
    "Sample",
    "SequenceModel",
    "SequenceState",
    "open_bundle",
    "write_bundle",
]
