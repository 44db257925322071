"""Small networks for text and their graphs, read by ONNX Runtime."""

from __future__ import annotations

from modelpad.convert.sequences import GraphReader, Outputs, Tokens
from modelpad.recipes.text.network import ArchitectureName, Shape
from modelpad.recipes.text.source import ClassifierSource, LanguageSource
from modelpad.runtime import InferenceSession, load_onnxruntime


def small(arch: ArchitectureName) -> Shape:
    return Shape(arch, vocabulary=90, embedding=64, width=64, blocks=2)


def open_session(content: bytes) -> InferenceSession:
    session: InferenceSession = load_onnxruntime().InferenceSession(content)
    return session


def read_all(
    source: LanguageSource | ClassifierSource, pieces: list[list[Tokens]]
) -> list[Outputs]:
    """The graph's output after each piece; `pieces` has one list per step, one entry per text."""
    session = open_session(source.export().SerializeToString())
    reader = GraphReader.start(session, source.sequence, len(pieces[0]))
    return [reader.read(step) for step in pieces]
