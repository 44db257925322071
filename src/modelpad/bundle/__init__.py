"""The bundle: one saved model version, as a folder. Independent of stores or engines."""

from modelpad.bundle.manifest import FileRecord, Manifest, NativeModel, Sample
from modelpad.bundle.reader import Bundle, open_bundle
from modelpad.bundle.writer import write_bundle

__all__ = [
    "Bundle",
    "FileRecord",
    "Manifest",
    "NativeModel",
    "Sample",
    "open_bundle",
    "write_bundle",
]
