"""The manifest's section of language models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from modelpad.bundle import Manifest, SequenceModel, SequenceState, open_bundle
from modelpad.errors import BundleInvalid

pytest.importorskip("onnx")
pytest.importorskip("tokenizers")

from tests.text_graphs import write_critic, write_writer


def test_a_sequence_model_round_trips(tmp_path: Path) -> None:
    for bundle in (write_writer(tmp_path / "writer"), write_critic(tmp_path / "critic")):
        again = open_bundle(bundle.folder).manifest
        assert again == bundle.manifest
        assert again.sequence is not None
        assert again.sequence.generates == (again.task == "text-generation")


def test_a_growing_state_is_recognized() -> None:
    cache = SequenceState("past", "present", "float32", (4, -1, 16))
    model = SequenceModel("tokenizer.json", "tokens", "lengths", "positions", "logits", (cache,))
    assert model.grows
    assert cache.growing_axis == 1
    assert replace(model, offsets="offsets").input_names[3] == "offsets"
    assert SequenceModel.from_dict(model.to_dict()) == model


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tokenizer", "unlisted.json"),
        ("tokens", None),
        ("tokens", "lengths"),
        ("positions", 5),
        ("start", -1),
        ("end", ["x"]),
        ("end", None),
        ("context", 0),
        ("states", [{"input": "a", "output": "b", "dtype": "object", "shape": [1]}]),
        ("states", [{"input": "a", "output": "b", "dtype": "float32", "shape": [0]}]),
        ("states", [{"input": "a", "output": "b", "dtype": "float32", "shape": [-1, -1]}]),
        ("states", [{"input": "a", "output": "b", "dtype": "float32"}]),
        ("embedding", "logits"),
        ("surprise", 1),
    ],
)
def test_an_invalid_section_is_rejected(tmp_path: Path, key: str, value: object) -> None:
    record = json.loads(write_writer(tmp_path / "writer").manifest.to_json())
    record["sequence"][key] = value
    with pytest.raises(BundleInvalid):
        Manifest.from_json(json.dumps(record).encode())
    del record["sequence"][key]
    if key not in ("surprise", "offsets", "embedding"):
        with pytest.raises(BundleInvalid):
            Manifest.from_json(json.dumps(record).encode())
