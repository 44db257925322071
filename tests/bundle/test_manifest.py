"""The manifest: golden bytes."""

from __future__ import annotations

import json

import pytest

from modelpad.bundle import FileRecord, Manifest, NativeModel, open_bundle
from modelpad.errors import BundleInvalid
from modelpad.fields import Score, Signature, Tensor
from tests.bundle.golden_bundle import GOLDEN, golden_manifest


def test_a_golden_bundle_round_trips() -> None:
    bundle = open_bundle(GOLDEN)
    expected = golden_manifest()
    assert bundle.manifest.signature == expected.signature
    assert bundle.manifest.samples == expected.samples
    assert bundle.manifest.to_json() == (GOLDEN / "manifest.json").read_bytes()
    assert bundle.manifest.to_dict()["preparation"] == {
        "image": {"name": "sketch", "size": 28, "box": 20}
    }


def make_native(**changes: str) -> Manifest:
    native = {"framework": "xgboost", "format": "xgboost", "file": "native/model.ubj"} | changes
    signature = Signature((Tensor("x", "float32", (4,)),), (Score("y"),))
    files = {"native/model.ubj": FileRecord("0" * 64, 3)}
    model = NativeModel(**native)
    return Manifest(name="m", task="test", signature=signature, files=files, native=model)


def test_a_native_model_round_trips() -> None:
    manifest = make_native()
    record = json.loads(manifest.to_json())
    assert (record["backend"], record["native"]["file"]) == ("native", "native/model.ubj")
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert manifest.backend == "native"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("backend", "pickle"),
        ("native", None),
        ("native", {"framework": "x", "format": "y"}),
        ("native", {"framework": "x", "format": "y", "file": "unlisted"}),
        ("native", {"framework": "x", "format": "y", "file": "../native/model.ubj"}),
        ("native", {"framework": "x", "format": 5, "file": "native/model.ubj"}),
    ],
)
def test_an_invalid_native_model_is_rejected(key: str, value: object) -> None:
    record = json.loads(make_native().to_json()) | {key: value}
    with pytest.raises(BundleInvalid):
        Manifest.from_json(json.dumps(record).encode())
